#!/usr/bin/env python3
"""Derives the labelled tables of data/ai4i and data/hydraulic from the public sets, with the split of the reference scores.

Usage: tools/reference_tables.py ai4i SOURCE.csv OUT_DIRECTORY
       tools/reference_tables.py hydraulic SOURCE.csv OUT_DIRECTORY

ai4i: SOURCE is ai4i2020.csv (UCI 601). Written: readings.csv.gz, the rows as readings of one machine, one a minute from
2020-01-01T00:00:00Z on (the source has no clock), the type L, M, H as 0, 1, 2; and split.csv.gz, the part of each row.
hydraulic: SOURCE is a table of mean, std, min and max of each sensor in each load cycle of UCI 447, with its states. Written:
cycles.csv.gz, those of PS1, FS1, TS1 and VS1, the states, and a column for the split of each question.

Splits are scikit-learn's train_test_split(test_size=0.3, random_state=42, stratify=label). The same input gives the same bytes.
It needs scikit-learn, which tools/install puts into the environment of the tests.
"""

import csv
import datetime
import gzip
import io
import pathlib
import sys

from sklearn.model_selection import train_test_split

START = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
AI4I = ["Air temperature [K]", "Process temperature [K]", "Rotational speed [rpm]", "Torque [Nm]", "Tool wear [min]"]
CYCLES = [f"{sensor}_{what}" for sensor in ("PS1", "FS1", "TS1", "VS1") for what in ("mean", "std", "min", "max")]
STATES = {"cooler": "cooler_pct", "valve": "valve_pct", "pump_leak": "pump_leak", "accumulator": "accumulator_bar"}


def split(labels):
    _, test = train_test_split(list(range(len(labels))), test_size=0.3, random_state=42, stratify=labels)
    parts = ["train"] * len(labels)
    for row in test:
        parts[row] = "test"
    return parts


def write(path, header, rows):
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(header)
    out.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode("utf-8"), compresslevel=9, mtime=0))
    print(f"{path}: {len(rows)} rows, {path.stat().st_size} bytes")


def ai4i(rows, out):
    readings = []
    for index, row in enumerate(rows):
        at = START + datetime.timedelta(minutes=index)
        values = [row[name] for name in AI4I]
        kind = {"L": 0, "M": 1, "H": 2}[row["Type"]]
        readings.append(["MILL-1", at.strftime("%Y-%m-%dT%H:%M:%SZ"), kind, *values, row["Machine failure"]])
    write(out / "readings.csv.gz", ["locomotive_id", "recorded_at", "Type", *AI4I, "Machine failure"], readings)
    write(out / "split.csv.gz", ["part"], [[part] for part in split([row[-1] for row in readings])])


def hydraulic(rows, out):
    states = {name: [float(row[column]) for row in rows] for name, column in STATES.items()}
    splits = {
        "split_pump_leak": split([state > 0 for state in states["pump_leak"]]),
        "split_valve": split([state < 100 for state in states["valve"]]),
        "split_accumulator": split([state <= 100 for state in states["accumulator"]]),
        "split_cooler": split([state < 100 for state in states["cooler"]]),
        "split_valve_by_cooler": ["test" if state == 20 else "train" for state in states["cooler"]],
    }
    table = []
    for index, row in enumerate(rows):
        numbers = [row[name] for name in (*CYCLES, *STATES.values())]
        table.append([*numbers, *(parts[index] for parts in splits.values())])
    write(out / "cycles.csv.gz", [*CYCLES, *states, *splits], table)


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("ai4i", "hydraulic"):
        sys.exit(__doc__)
    with open(sys.argv[2], encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    {"ai4i": ai4i, "hydraulic": hydraulic}[sys.argv[1]](rows, pathlib.Path(sys.argv[3]))


if __name__ == "__main__":
    main()
