#!/usr/bin/env python3
"""Forests as scikit-learn and ONNX Runtime know them, for the tests and benchmarks of ours. Rows and answers are files of 32-bit floats.

Usage: forests.py run MODEL.onnx WIDTH ROWS ANSWERS    ONNX Runtime's probability of class 1 for each row
       forests.py make DIRECTORY                       forests of scikit-learn through skl2onnx, with rows and answers
       forests.py train WIDTH ROWS LABELS JUDGES LABELS TREES DEPTH
                                                       seconds of training with two jobs, AUC and average precision

make writes NAME.onnx, NAME.rows, NAME.sklearn and NAME.runtime for forests that must be taken, and refused-NAME.onnx for others. The
width stands in the name: NAME-WIDTH.
"""

import pathlib
import sys
import time

import numpy as np


def runtime(model, rows):
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    answer = session.run(None, {session.get_inputs()[0].name: rows})[1]
    if isinstance(answer, list):
        return np.array([row[1] for row in answer], dtype=np.float32)
    return answer[:, 1].astype(np.float32)


def run(model, width, rows, answers):
    rows = np.fromfile(rows, dtype="<f4").reshape(-1, int(width))
    runtime(pathlib.Path(model).read_bytes(), rows).astype("<f4").tofile(answers)


def make(directory):
    import onnx
    from skl2onnx import to_onnx
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

    out = pathlib.Path(directory)
    random = np.random.default_rng(7)

    def data(width, tenths):
        # Values of one decimal lie on both sides of thresholds that have no exact 32-bit form, and many rows share them.
        rows = random.normal(size=(1500, width))
        rows = (np.round(rows, 1) if tenths else rows).astype(np.float32)
        return rows, rows[:, 0] + rows[:, 1] * rows[:, 2] + random.normal(scale=0.5, size=1500) > 0.4

    def export(forest, rows, zipmap):
        return to_onnx(forest, rows[:1], options=None if zipmap else {id(forest): {"zipmap": False}})

    cases = [
        ("votes", 6, False, {}, False),
        ("shares", 6, False, {"max_depth": 6}, False),
        ("tenths", 5, True, {"max_depth": 9}, False),
        ("leaves", 5, True, {"min_samples_leaf": 7}, True),
        ("wide", 70, False, {"max_depth": 8, "n_estimators": 33}, False),
    ]
    for name, width, tenths, options, zipmap in cases:
        rows, labels = data(width, tenths)
        forest = RandomForestClassifier(**{"n_estimators": 100, "random_state": 0, **options})
        forest.fit(rows[:1000], labels[:1000].astype(int))
        model = export(forest, rows, zipmap).SerializeToString()
        path = out / f"{name}-{width}"
        path.with_suffix(".onnx").write_bytes(model)
        rows.astype("<f4").tofile(path.with_suffix(".rows"))
        forest.predict_proba(rows)[:, 1].astype("<f4").tofile(path.with_suffix(".sklearn"))
        runtime(model, rows).astype("<f4").tofile(path.with_suffix(".runtime"))

    rows, labels = data(4, False)
    small = {"n_estimators": 5, "max_depth": 4, "random_state": 0}
    forest = RandomForestClassifier(**small).fit(rows, labels.astype(int))
    missing = export(forest, rows, False)
    for attribute in missing.graph.node[0].attribute:
        if attribute.name == "nodes_missing_value_tracks_true":
            attribute.ints[0] = 1
    onnx.checker.check_model(missing)
    refused = {
        "missing": missing,
        "words": export(RandomForestClassifier(**small).fit(rows, np.where(labels, "bad", "sound")), rows, False),
        "three": export(RandomForestClassifier(**small).fit(rows, np.digitize(rows[:, 0], [-0.5, 0.5])), rows, False),
        "boosted": to_onnx(GradientBoostingClassifier(n_estimators=3).fit(rows, labels.astype(int)), rows[:1]),
    }
    for name, model in refused.items():
        (out / f"refused-{name}.onnx").write_bytes(model.SerializeToString())


def train(width, rows, labels, judges, truths, trees, depth):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import average_precision_score, roc_auc_score

    rows = np.fromfile(rows, dtype="<f4").reshape(-1, int(width))
    labels = np.fromfile(labels, dtype="u1")
    forest = RandomForestClassifier(n_estimators=int(trees), max_depth=int(depth), n_jobs=2, random_state=0)
    began = time.perf_counter()
    forest.fit(rows, labels)
    seconds = time.perf_counter() - began
    truths = np.fromfile(truths, dtype="u1")
    said = forest.predict_proba(np.fromfile(judges, dtype="<f4").reshape(-1, int(width)))[:, 1]
    print(f"{seconds:.1f} {roc_auc_score(truths, said):.4f} {average_precision_score(truths, said):.4f}")


def main():
    commands = {"run": (run, 4), "make": (make, 1), "train": (train, 7)}
    command, count = commands.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0))
    if command is None or len(sys.argv) != count + 2:
        sys.exit(__doc__)
    command(*sys.argv[2:])


if __name__ == "__main__":
    main()
