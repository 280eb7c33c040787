// SPDX-License-Identifier: Apache-2.0
// The monitor page: own bits are taken, others' are left.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vmbus/monitor.h"

static void own_bits_are_taken_and_no_others(void **state)
{
	struct vmbus_monitor_page page;
	struct vmbus_monitor_ids own = {}, rung;

	vmbus_monitor_add(&own, 0);
	vmbus_monitor_add(&own, 33);
	vmbus_monitor_add(&own, 127);
	memset(&page, 0, sizeof(page));
	assert_false(vmbus_monitor_scan(&page, &own, &rung));

	for (int g = 0; g < 4; g++)
		page.groups[g].pending = page.groups[g].armed = cpu_to_le32(0xffffffff);
	assert_true(vmbus_monitor_scan(&page, &own, &rung));
	for (uint32_t id = 0; id < 256; id++)
		assert_int_equal(vmbus_monitor_has(&rung, id), id == 0 || id == 33 || id == 127);
	assert_int_equal(le32_to_cpu(page.groups[0].pending), 0xfffffffe);
	assert_int_equal(le32_to_cpu(page.groups[1].pending), 0xfffffffd);
	assert_int_equal(le32_to_cpu(page.groups[2].pending), 0xffffffff);
	assert_int_equal(le32_to_cpu(page.groups[3].pending), 0x7fffffff);
	for (int g = 0; g < 4; g++)
		assert_int_equal(le32_to_cpu(page.groups[g].armed), 0xffffffff);
	assert_false(vmbus_monitor_scan(&page, &own, &rung));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_bits_are_taken_and_no_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
