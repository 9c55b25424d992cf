"""Charts of the live benchmark, as PNG."""

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot


def save(panels, path):
    """`panels`: (title, name of x, [(name, xs, ys), ...]) each; one below the other, y from 0."""
    figure, axes = pyplot.subplots(len(panels), 1, figsize=(9, 3.2 * len(panels)), squeeze=False)
    for axis, (title, x_name, series) in zip(axes[:, 0], panels, strict=True):
        for name, xs, ys in series:
            axis.plot(xs, ys, label=name, marker="o" if len(xs) < 30 else None, markersize=4)
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_xlabel(x_name)
        axis.set_ylim(bottom=0)
        axis.grid(color="#dddddd")
        if len(series) > 1:
            axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def passes(result, path):
    """The curve of longtake-bench-passes."""
    counts = sorted(int(n) for n in result["passes_per_s"])
    rates = [result["passes_per_s"][str(n)] for n in counts]
    alone = [result["one_at_a_time"]] * len(counts)
    series = [("batched", counts, rates), ("one at a time", counts, alone)]
    save([("transformer passes a second", "sessions in a batch", series)], path)


def loadtest(report, path):
    """What `longtake loadtest --json` wrote: the test's seconds, and how long viewers waited for a picture."""
    timeline = report["timeline"]
    seconds = list(range(len(timeline["video_s"])))
    first = sorted(v["first_chunk"] for v in report["each"] if v["live"] and "first_chunk" in v)
    names = {"watching": "watching", "seconds of video": "video_s", "stalls": "stalls", "refused": "refused"}
    series = [(name, seconds, timeline[key]) for name, key in names.items()]
    panels = [(f"continuity {report['continuity']:.4f} of {report['judged']} viewers", "s", series)]
    if first:
        share = [(i + 1) / len(first) for i in range(len(first))]
        panels.append(("share of viewers with a picture", "s after the request", [("", first, share)]))
    save(panels, path)
