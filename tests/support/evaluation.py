"""Measures of predictions by scikit-learn, as rows of `kind: evaluate`.

usage: evaluation.py FILE...    lines of JSON with truth and predicted
"""
import json
import sys
import warnings

from sklearn.metrics import classification_report, confusion_matrix

warnings.simplefilter("ignore")
pairs = [json.loads(line) for name in sys.argv[1:] for line in open(name)]
whole = [(str(p["truth"]), str(p["predicted"])) for p in pairs if p["truth"] is not None and p["predicted"] is not None]
truth, predicted = [t for t, _ in whole], [p for _, p in whole]
labels = sorted(set(truth) | set(predicted))
report = classification_report(truth, predicted, labels=labels, output_dict=True, zero_division=0)
matrix = confusion_matrix(truth, predicted, labels=labels)
rows = [["count", t, p, float(matrix[i][j])] for i, t in enumerate(labels) for j, p in enumerate(labels) if matrix[i][j]]
for label in labels + ["macro avg", "weighted avg"]:
    values = report[label]
    rows += [[name, label, None, values[key]] for name, key in
             [("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")]]
    if label in labels:
        rows.append(["support", label, None, float(values["support"])])
rows.append(["accuracy", None, None, sum(t == p for t, p in whole) / len(whole)])
rows.append(["rows", None, None, float(len(whole))])
rows.append(["missing", None, None, float(len(pairs) - len(whole))])
json.dump(rows, sys.stdout)
