#!/usr/bin/env python3
"""Converts the hydraulic rig's measurements (UCI 447) into one table of readings: data/hydraulic/readings.csv.gz.

Usage: tools/hydraulic.py DIRECTORY OUT

DIRECTORY holds PS1_1hz.csv.gz, FS1_1hz.csv.gz, TS1_1hz.csv.gz, VS1_1hz.csv.gz (a row a load cycle of 60 s, a column a second) and
profile.txt (a row a cycle: cooler %, valve %, pump leak, accumulator bar, stable flag). Every sixth second is kept. The source has no
clock: cycles are laid one after another from 2015-01-01T00:00:00Z on. The same input gives the same bytes.
"""

import csv
import datetime
import gzip
import io
import pathlib
import sys

START = datetime.datetime(2015, 1, 1, tzinfo=datetime.timezone.utc)
EVERY = 6
SENSORS = {"flow": ("FS1", 2), "pressure": ("PS1", 2), "vibration": ("VS1", 3), "temperature": ("TS1", 2)}


def cycles(directory, name):
    with gzip.open(directory / f"{name}_1hz.csv.gz", "rt", encoding="ascii") as file:
        return [[float(field) for field in row] for row in csv.reader(file)]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[1])
    columns = {key: (cycles(directory, name), decimals) for key, (name, decimals) in SENSORS.items()}
    profile = [line.split() for line in (directory / "profile.txt").read_text(encoding="ascii").splitlines()]
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["locomotive_id", "recorded_at", *SENSORS, "cooler", "valve", "pump_leak", "accumulator"])
    for cycle, states in enumerate(profile):
        for second in range(0, 60, EVERY):
            at = START + datetime.timedelta(seconds=60 * cycle + second)
            values = [f"{rows[cycle][second]:.{decimals}f}" for rows, decimals in columns.values()]
            out.writerow(["RIG-1", at.strftime("%Y-%m-%dT%H:%M:%SZ"), *values, *states[:4]])
    packed = gzip.compress(text.getvalue().encode("ascii"), compresslevel=9, mtime=0)
    pathlib.Path(sys.argv[2]).write_bytes(packed)
    print(f"{len(profile) * (60 // EVERY)} readings, {len(packed)} bytes")


if __name__ == "__main__":
    main()
