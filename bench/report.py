# SPDX-License-Identifier: Apache-2.0
"""Turns what the runner kept into rows, a table, lines of JSON and two drawings.

A row is a dictionary. Rows of metric "cost" carry the split of a frame's cycles; the others a
single `value`. `bar` and `met` are present where there is a bar.
"""
import json
import os
from statistics import median

import cases

MAX_DISTANCES = 1.4  # from core to core during one comparison: the largest to the smallest
BLUE, GREY, GREEN, RED = "#2f6fb2", "#9aa5b1", "#3a8f4d", "#c0392b"


def brief(figures):
    """One measurement in a few words, for the progress lines."""
    if "error" in figures:
        return "failed"
    if "setups_per_s" in figures:
        return "%.0f set-ups/s" % figures["setups_per_s"]
    if "resolve_mpps" in figures:
        return "%.1f Mpps at the least, %d ms low" % (figures["resolve_mpps"],
                                                      figures["resolve_ms"])
    if "wake_us" in figures:
        return "%.1f %% of a core, answers in %.0f us" % (100 * figures["idle_share"],
                                                          figures["wake_us"])
    if "handover" in figures:
        return "%.0f cycles to cross, %d and %d frames lost" % (
            figures["handover"], figures["others_drops"], figures["move_faults"])
    if "few_s" in figures:
        return "%.2f s for 10 k records, %.1f s for all; dropped: %s" % (
            figures["few_s"], figures["all_s"], figures["drop_reasons"] or "none")
    return "%6.2f Mpps, switch %6.1f cycles, cores %.0f … %.0f apart" % (
        figures["mpps"], figures["switch"], *figures["distances"])


def good(kept):
    return [f for f in kept if "error" not in f]


def middle(kept, key):
    return median(f[key] for f in kept)


def cost_row(case, switch, kept):
    row = {"case": case.name, "title": case.title, "switch": switch, "metric": "cost",
           "reps": len(kept)}
    for key in ("mpps", "cycles", "generator", "sink", "switch", "on_cpu", "loss", "others_busy"):
        row["switch_cycles" if key == "switch" else key] = round(middle(kept, key), 5)
    row["switch_min"] = min(f["switch"] for f in kept)
    row["switch_max"] = max(f["switch"] for f in kept)
    row["rejected"] = sum(f["rejected"] for f in kept)
    return row


def guest_row(case, switch, kept):
    row = {"case": case.name, "title": case.title, "switch": switch, "metric": "guests",
           "reps": len(kept), "stages": kept[-1]["stages"]}
    for key in ("mpps", "switch", "loss", "doorbells", "bells"):
        row["switch_cycles" if key == "switch" else key] = round(middle(kept, key), 5)
    row["switch_min"] = min(f["switch"] for f in kept)
    row["switch_max"] = max(f["switch"] for f in kept)
    row["rejected"] = sum(f["rejected"] for f in kept)
    row["others_busy"] = round(middle(kept, "others_busy"), 5)
    row["distance"] = median(d for f in kept for d in f["distances"])
    return row


def with_bar(row, bar, met):
    return dict(row, bar=bar, met=bool(met))


def same_place(*measured):
    """Were the cores equally far apart all the while? A hypervisor may move them."""
    distances = [d for figures in measured for d in figures["distances"]]
    return max(distances) <= MAX_DISTANCES * min(distances)


def ratio_row(case, weft, ovs):
    """The median of the ratios, each formed within one repetition; beside it that of the lowest
    cycles of either, for neighbours of the machine can only slow a switch down. What guests cost
    depends on how far their cores are: repetitions in which that changed do not count."""
    both = [(w, o) for w, o in zip(weft, ovs) if "error" not in w and "error" not in o]
    if case.kind == "guests":
        both = [pair for pair in both if same_place(*pair)] or both
    pairs = [w["switch"] / o["switch"] for w, o in both]
    if not pairs:
        return None
    quiet = min(f["switch"] for f in good(weft)) / min(f["switch"] for f in good(ovs))
    row = {"case": case.name, "title": case.title, "metric": "ratio", "value": median(pairs),
           "min": min(pairs), "max": max(pairs), "quiet": quiet, "reps": len(pairs),
           "unit": "of OVS (quietest %.3f)" % quiet}
    return with_bar(row, case.bar, row["value"] <= case.bar) if case.bar else row


def setup_row(case, switch, kept):
    row = {"case": case.name, "title": case.title, "switch": switch, "metric": "setups",
           "value": middle(kept, "setups_per_s"), "unit": "/s", "reps": len(kept)}
    if switch != "weft":
        return row
    return with_bar(row, cases.MIN_SETUPS, row["value"] >= cases.MIN_SETUPS)


def resolve_rows(case, switch, kept):
    def row(metric, title, key, unit):
        return {"case": case.name, "title": case.title + title, "switch": switch, "metric": metric,
                "value": middle(kept, key), "unit": unit, "reps": len(kept)}
    return [row("steady", ": rate before", "mpps", "Mpps"),
            row("lowest", ": lowest rate in 20 ms", "resolve_mpps", "Mpps"),
            row("low_ms", ": time below 90 %", "resolve_ms", "ms")]


def idle_rows(case, switch, kept):
    def row(metric, title, key, unit, bar):
        value = middle(kept, key)
        return with_bar({"case": case.name, "title": case.title + title, "switch": switch,
                         "metric": metric, "value": value, "unit": unit, "reps": len(kept)},
                        bar, value <= bar)
    return [row("idle_share", ": CPU time", "idle_share", "of a core", cases.MAX_IDLE_SHARE),
            row("wake_us", ": ping that wakes it", "wake_us", "µs round trip", cases.MAX_WAKE_US)]


def vmq_rows(case, switch, kept):
    def row(metric, title, key, unit, bar):
        value = middle(kept, key)
        return with_bar({"case": case.name, "title": title, "switch": switch, "metric": metric,
                         "value": value, "unit": unit, "reps": len(kept)}, bar, value <= bar)
    return [row("handover", "a frame crosses to another worker", "handover", "cycles",
                cases.MAX_HANDOVER_CYCLES),
            row("fair", "lost by 15 ports beside one at ten times its share", "others_drops",
                "frames", 0),
            row("move", "lost or overtaken in 200 moves at 60 % load", "move_faults", "frames", 0)]


def policy_rows(case, switch, kept):
    def row(metric, title, key, unit, bar=None):
        value = middle(kept, key)
        made = {"case": case.name, "title": title, "switch": switch, "metric": metric,
                "value": value, "unit": unit, "reps": len(kept)}
        return made if bar is None else with_bar(made, bar, value <= bar)
    return [row("few_s", "10 k records in force", "few_s", "s", cases.MAX_FEW_RECORDS_S),
            row("all_s", "1 M records in force, 1 k domains", "all_s", "s",
                cases.MAX_ALL_RECORDS_S),
            row("change_s", "10 k of 1 M records changed", "change_s", "s"),
            row("record_bytes", "memory of a record", "record_bytes", "bytes"),
            row("route_bytes", "memory of a route, 100 k in a domain", "route_bytes", "bytes"),
            row("dropped", "frames dropped meanwhile", "dropped", "frames", 0)]


def derived_rows(results):
    """What two cases say together: memory of a flow, and the rate kept at a million entries."""
    rows = []
    for switch in ("weft", "ovs"):
        few = good(results.get(("tuple-10k", switch, "ours"), []))
        many = good(results.get(("tuple-1m", switch, "ours"), []))
        if not few or not many:
            continue
        more = middle(many, "flows") - middle(few, "flows")
        value = (middle(many, "memory_bytes") - middle(few, "memory_bytes")) / max(more, 1)
        row = {"case": "tuple-1m", "switch": switch, "metric": "memory", "reps": len(many),
               "title": "memory of a cached flow", "value": value, "unit": "bytes"}
        if switch == "ovs":
            rows.append(row)
            continue
        rows.append(with_bar(row, cases.MAX_FLOW_BYTES, value <= cases.MAX_FLOW_BYTES))
        share = middle(many, "mpps") / middle(few, "mpps")
        rows.append(with_bar({"case": "tuple-1m", "switch": switch, "metric": "share",
                              "title": "rate at 1 M entries", "value": share,
                              "unit": "of that at 10 k", "reps": len(many)},
                             cases.MIN_SHARE_AT_1M, share >= cases.MIN_SHARE_AT_1M))
    return rows


def idle_nics_rows(results):
    """What idle NICs cost a busy one."""
    busy = results.get(("guest-64", "weft", "ours"), [])
    beside = results.get(("guest-idle", "weft", "ours"), [])
    both = [(a, b) for a, b in zip(busy, beside) if "error" not in a and "error" not in b]
    pairs = [b["switch"] / a["switch"] for a, b in
             [pair for pair in both if same_place(*pair)] or both]
    if not pairs:
        return []
    quiet = min(f["switch"] for f in good(beside)) / min(f["switch"] for f in good(busy))
    return [with_bar({"case": "guest-idle", "title": "cycles beside 256 idle NICs",
                      "metric": "idle_nics", "value": median(pairs), "quiet": quiet,
                      "reps": len(pairs), "unit": "of those without (quietest %.2f)" % quiet},
                     cases.MAX_IDLE_NICS_COST, median(pairs) <= cases.MAX_IDLE_NICS_COST)]


def judge_row(case, switch, ours, judge):
    value = middle(judge, "switch") / middle(ours, "switch")
    return with_bar({"case": case.name, "switch": switch, "metric": "judge", "value": value,
                     "title": case.title, "unit": "of the cycles with ours", "reps": len(judge)},
                    "1 ± %.2f" % cases.JUDGE_NOISE, abs(value - 1) <= cases.JUDGE_NOISE)


def summarise(results, wanted):
    rows = []
    for case in wanted:
        for kind in case.switches:
            kept = results[(case.name, kind.name, "ours")]
            fine = good(kept)
            if not fine:
                rows.append({"case": case.name, "title": case.title, "switch": kind.name,
                             "metric": "error", "error": kept[-1]["error"]})
            elif case.kind == "cost":
                rows.append(cost_row(case, kind.name, fine))
            elif case.kind == "guests":
                rows.append(guest_row(case, kind.name, fine))
            elif case.kind == "setup":
                rows.append(setup_row(case, kind.name, fine))
            elif case.kind == "vmq":
                rows += vmq_rows(case, kind.name, fine)
            elif case.kind == "idle":
                rows += idle_rows(case, kind.name, fine)
            elif case.kind == "policy":
                rows += policy_rows(case, kind.name, fine)
            else:
                rows += resolve_rows(case, kind.name, fine)
            judged = good(results.get((case.name, kind.name, "judge"), []))
            if judged and fine:
                rows.append(judge_row(case, kind.name, fine, judged))
        weft = results.get((case.name, "weft", "ours"))
        ovs = results.get((case.name, "ovs", "ours"))
        if case.kind in ("cost", "guests") and weft and ovs:
            rows.append(ratio_row(case, weft, ovs))
    return [row for row in rows if row] + derived_rows(results) + idle_nics_rows(results)


def remarks(row):
    """What makes a line doubtful."""
    found = []
    if row["loss"] > 0.001:
        found.append("%.1f %% of the frames lost" % (100 * row["loss"]))
    if row["others_busy"] > 0.3:
        found.append("other cores %.0f %% busy" % (100 * row["others_busy"]))
    if row["rejected"]:
        found.append("%d samples rejected" % row["rejected"])
    return "  " + ", ".join(found) if found else ""


def verdict(row):
    if "met" not in row:
        return ""
    return "bar %s: %s" % (number(row["bar"]), "met" if row["met"] else "MISSED")


def number(value):
    if isinstance(value, str):
        return value
    if value >= 1000:
        return "{:,.0f}".format(value)
    return "%.3g" % value


def print_costs(rows):
    print("\nCycles are TSC cycles for each frame sent, on one core; [lowest … highest] over the "
          "repetitions.\n")
    print("%-11s %-17s %8s %8s = %6s + %5s + %8s  %s" % (
        "case", "switch", "Mpps", "cycles", "source", "sink", "switch", "[spread]"))
    for row in rows:
        print("%-11s %-17s %8.2f %8.1f   %6.1f   %5.1f   %8.1f  [%.1f … %.1f]%s" % (
            row["case"], row["switch"], row["mpps"], row["cycles"], row["generator"],
            row["sink"], row["switch_cycles"], row["switch_min"], row["switch_max"],
            remarks(row)))


def guest_remarks(row):
    rejected = ", %d samples rejected" % row["rejected"] if row["rejected"] else ""
    return "  cores %.0f cycles apart%s" % (row["distance"], rejected)


def print_guests(rows):
    print("\nGuest to guest, both directions: TSC cycles of the switch for each frame; times that a "
          "guest rang\nthe switch and the switch a guest, a frame.\n")
    print("%-11s %-17s %8s %8s  %-18s %8s %10s %10s" % (
        "case", "switch", "Mpps", "cycles", "[spread]", "lost", "to switch", "to guest"))
    for row in rows:
        spread = "[%.1f … %.1f]" % (row["switch_min"], row["switch_max"])
        print("%-11s %-17s %8.2f %8.1f  %-18s %6.2f %% %10.5f %10.5f%s" % (
            row["case"], row["switch"], row["mpps"], row["switch_cycles"], spread,
            100 * row["loss"], row["doorbells"], row["bells"], guest_remarks(row)))
        if any(row["stages"].values()):
            print("%39s of which %s" % ("", ", ".join("%s %.1f" % pair
                                                      for pair in row["stages"].items())))


def print_table(rows):
    costs = [row for row in rows if row["metric"] == "cost"]
    if costs:
        print_costs(costs)
    guests = [row for row in rows if row["metric"] == "guests"]
    if guests:
        print_guests(guests)
    print()
    for row in rows:
        if row["metric"] == "error":
            print("%-11s %-17s failed: %s" % (row["case"], row["switch"], row["error"]))
        elif row["metric"] not in ("cost", "guests"):
            print("%-11s %-17s %-48s %9s %-26s %s" % (
                row["case"], row.get("switch", "weft"), row["title"], number(row["value"]),
                row["unit"], verdict(row)))


def emit(rows, args):
    """Prints the rows as asked, and draws. Threads: the only one."""
    folder = os.path.join(args.build, "bench")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "results.json"), "w") as f:
        for row in rows:
            f.write(json.dumps(row) + "\n")
    if args.json:
        for row in rows:
            print(json.dumps(row))
        return
    print_table(rows)
    draw(os.path.join(folder, "cycles.svg"), "Switch cycles for each frame",
         [(row["case"] + "  " + row["switch"], row["switch_cycles"], None,
           BLUE if row["switch"] == "weft" else GREY)
          for row in rows if row["metric"] in ("cost", "guests")])
    draw(os.path.join(folder, "ratios.svg"), "Weft's cycles as a share of Open vSwitch's (bar: |)",
         [(row["case"], row["value"], row.get("bar"),
           GREEN if row.get("met", True) else RED) for row in rows if row["metric"] == "ratio"])
    print("\nDrawings and results: %s/{cycles.svg,ratios.svg,results.json}" % folder)


def draw(path, title, bars):
    """Horizontal bars as SVG. bars: (label, value, mark or None, colour)."""
    if not bars:
        return
    left, width, step = 200, 480, 24
    scale = width / max(max(value, mark or 0) for _, value, mark, _ in bars)
    height = 50 + step * len(bars)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
           'font-family="sans-serif" font-size="13">' % (left + width + 90, height),
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="10" y="22" font-size="16">%s</text>' % title]
    for i, (label, value, mark, colour) in enumerate(bars):
        y = 38 + step * i
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>' % (left - 8, y + 14, label))
        out.append('<rect x="%d" y="%d" width="%.1f" height="18" fill="%s"/>'
                   % (left, y, max(value * scale, 1), colour))
        out.append('<text x="%.1f" y="%d">%s</text>'
                   % (left + max(value, mark or 0) * scale + 6, y + 14, number(value)))
        if mark:
            x = left + mark * scale
            out.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="black" '
                       'stroke-width="2"/>' % (x, x, y - 2, y + 20))
    with open(path, "w") as f:
        f.write("\n".join(out + ["</svg>", ""]))
