"""Draws what `longtake loadtest --json FILE` wrote: python -m bench.plot_loadtest FILE.json FILE.png"""

import json
import pathlib
import sys

from bench import charts

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    charts.loadtest(json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2]))
