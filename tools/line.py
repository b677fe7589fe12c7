#!/usr/bin/env python3
"""Writes data/line/stations.csv: the stations from Douala to Ngaoundéré in order, with cumulated chord length and an approximate altitude.

Usage: tools/line.py STATIONS_CSV LINES_GEOJSON > data/line/stations.csv

The inputs are a table of Camrail stations and the lines through them, derived from OpenStreetMap and GeoNames (see data/line/README.md).
"""

import csv
import json
import math
import sys

# Approximate altitudes in metres at places whose height is commonly known; between them altitude is interpolated along the line.
ANCHORS = {
    "Douala": 13,
    "Edéa voyageurs": 32,
    "Eséka": 228,
    "Makak": 660,
    "Otélé": 760,
    "Yaoundé": 750,
    "Gare d'Obala": 560,
    "Nanga Eboko": 620,
    "Belabo": 610,
    "Mbitom": 830,
    "Ngaoundéré": 1100,
}
YAOUNDE = (3.870706, 11.526063)


def distance_km(a, b):
    """Great-circle distance (haversine), Earth radius 6371.0 km."""
    lat_a, lon_a, lat_b, lon_b = map(math.radians, (*a, *b))
    h = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * 6371.0 * math.asin(math.sqrt(h))


def name_of(label, point):
    if math.dist(point, YAOUNDE) < 1e-4:
        return "Yaoundé"
    if label.startswith("osm "):
        return f"Halte {label[4:]}"
    return label.removesuffix(" (GeoNames)")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[2], encoding="utf-8") as file:
        features = json.load(file)["features"][:2]
    with open(sys.argv[1], encoding="utf-8") as file:
        known = {(round(float(row["lat"]), 4), round(float(row["lon"]), 4)) for row in csv.DictReader(file)}
    stops = []
    for feature in features:
        pairs = zip(feature["properties"]["stations"], feature["geometry"]["coordinates"])
        for label, (longitude, latitude, *_) in pairs:
            point = (latitude, longitude)
            if (round(latitude, 4), round(longitude, 4)) not in known:
                sys.exit(f"{label} at {point} is not in the table of stations")
            if not stops or stops[-1][1] != point:
                stops.append((name_of(label, point), point))
    km = [0.0]
    for (_, before), (_, after) in zip(stops, stops[1:]):
        km.append(km[-1] + distance_km(before, after))
    anchors = [(km[i], ANCHORS[name]) for i, (name, _) in enumerate(stops) if name in ANCHORS]

    def altitude(at):
        for (left, low), (right, high) in zip(anchors, anchors[1:]):
            if left <= at <= right:
                return low + (high - low) * (at - left) / (right - left)
        raise ValueError(at)

    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["name", "latitude", "longitude", "altitude_m", "km"])
    for (name, (latitude, longitude)), at in zip(stops, km):
        out.writerow([name, f"{latitude:.6f}", f"{longitude:.6f}", round(altitude(at)), f"{at:.1f}"])


if __name__ == "__main__":
    main()
