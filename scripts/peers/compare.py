#!/usr/bin/python3
"""Times the models of the exercise, and a training epoch, in mnistq and in the engines that one would take instead, all
taking turns, round after round. Writes peers.md and peers.csv to --results.

A peer is an executable file in the folder --peers, called as

  SCRIPT --fp32 FILE --int8 FILE --data DIR --batches 1,1000 --threads 1,2 --seconds 0.3 --round 1 --epochs 1

(seconds: of each timing; round: a seed for training; epochs: 0 or 1). It prints one JSON object a line, nothing else:

  {"peer": "PyTorch 1.13.1", "variant": "onednn", "task": "int8", "batch": 1000, "threads": 1,
   "images_per_second": 4e5, "p50_us": 2500, "p99_us": 2600, "correct": 9781, "n": 10000}
  {"peer": ..., "task": "epoch", "batch": 32, "threads": 2, "seconds": 0.8, "correct": 9781, "n": 10000}
  {"missing": "what has to be installed first"}

Tasks are fp32 and int8 (inference) and epoch. Of several variants of one case the fastest counts. A peer that fails is
not started again, and nothing of the round in which it failed counts.

Exit status: 0 done; 1 no peer measured anything (nothing is written then), or a file is wrong; 2 wrong use."""
import argparse
import csv
import json
import math
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

COLUMNS = (
    "task batch threads ours_images_per_second ours_of_peak_percent ours_p50_us ours_p99_us ours_accuracy_percent peer "
    "peer_images_per_second peer_p50_us peer_p99_us peer_accuracy_percent ours_over_peer lowest_over_rounds "
    "highest_over_rounds remark"
).split()
TEXTS = ("task", "peer", "remark")  # the other columns are numbers
TITLE = "The same models elsewhere"
OURS, TORCH, ONNX = "mnistq", "PyTorch", "ONNX Runtime"
TRAINING_BATCH = 32
OUTPUT_MAX = 1 << 20  # bytes that a peer may print

# (task, batch, threads), engine, what ours should reach: times the engine's speed, or without one microseconds at most.
# None for batch and threads: the fastest of each side.
TARGETS = (
    (("int8", 1000, 1), ONNX, 1.25),
    (("int8", 10000, 1), ONNX, 1.25),
    (("int8", 1, 1), None, 1.5),
    (("fp32", 1000, 1), ONNX, 1.8),
    (("fp32", 10000, 1), ONNX, 1.8),
    (("epoch", None, None), TORCH, 2.5),
)


class Failure(Exception):
    """What is wrong, in one line."""


def masked(text):
    """Without the control characters that a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text)


def plural(n, noun):
    return f"{n} {noun}" + ("" if n == 1 else "s")


def progress(text):
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write("\r\033[K" + text[:width])
        sys.stderr.flush()


# ---- ours -------------------------------------------------------------------------------------------------------


def bench(o, *options):
    """The table of mnistq bench on both models, as {rows, notes, provenance}."""
    with tempfile.TemporaryDirectory() as folder:
        command = [o.mnistq, "bench", o.fp32, o.int8, "--data", o.data, "--results", folder, "--json", *options]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        except OSError as error:
            raise Failure(f"{o.mnistq}: cannot be started: {error.strerror}") from error
    if done.returncode:
        sys.exit(done.returncode)  # it has said why
    return json.loads(done.stdout)


def look_before(o):
    """Checks models, data and batches; sets o.test_count and o.train_count. Returns the provenance."""
    table = bench(o, "--no-training", "--batch", "1", "--threads", "1", "--runs", "7")
    for path, row, expected in zip((o.fp32, o.int8), table["rows"], ("fp32", "integer")):
        if row["arithmetic"] != expected:
            raise Failure(f"{path}: not an {'fp32' if expected == 'fp32' else 'int8'} model ({row['arithmetic']})")
    counts = re.search(r"(\d+) training and (\d+) test images", table["provenance"]["data"])
    o.train_count, o.test_count = int(counts[1]), int(counts[2])
    for batch in o.batch:
        if batch > o.test_count:
            raise Failure(f"--batch {batch}: there are only {o.test_count} test images")
    return table["provenance"]


def our_turn(o, number):
    """Samples of a round, and the notes on the machine. By wall time, as the peers are timed."""
    training = ["--no-training"] if o.no_training else ["--epochs", "1", "--seed", str(number)]
    table = bench(o, "--batch", joined(o.batch), "--threads", joined(o.threads), "--runs", str(o.runs), *training)
    samples = []
    for row in table["rows"]:
        task = "epoch" if row["name"] == "training epoch" else "int8" if row["arithmetic"] == "integer" else "fp32"
        images = o.train_count if task == "epoch" else row["batch"]
        samples.append(
            {
                "case": (task, row["batch"], row["threads"]),
                "name": OURS,
                "variant": "",
                "rate": 1e6 * images / row["p50_us"],
                "p50": row["p50_us"],
                "p99": row["p99_us"],
                "accuracy": row["accuracy_percent"],
                "of_peak": row["of_peak_percent"],
            }
        )
    return samples, [note for note in table["notes"] if note.startswith(("Peak of", "Up to", "Busy machine"))]


# ---- a peer -----------------------------------------------------------------------------------------------------


def read_process(argv, limit, env):
    """What the program prints; a Failure when it fails, prints too much, or takes longer than limit seconds: then it
    and all that it started are killed."""
    deadline, output = time.monotonic() + limit, b""
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(  # a group of its own, so that all of it can be killed
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, env=env, start_new_session=True
        )
        try:
            while chunk := read_some(process.stdout, deadline, limit):
                output += chunk
                if len(output) > OUTPUT_MAX:
                    raise Failure("printed a line that does not end or is too long")
            process.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise Failure(f"stopped after the limit of {limit} s") from error
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()
        complaints.seek(0)
        last = [line for line in complaints.read().decode(errors="replace").splitlines() if line.strip()][-1:]
    complaint = "".join(": " + masked(line)[:180] for line in last)
    if process.returncode < 0:
        raise Failure(f"killed by signal {-process.returncode}{complaint}")
    if process.returncode:
        raise Failure(f"exit status {process.returncode}{complaint}")
    return output.decode(errors="replace")


def read_some(stream, deadline, limit):
    if not select.select([stream], [], [], max(0, deadline - time.monotonic()))[0]:
        raise subprocess.TimeoutExpired("", limit)
    return os.read(stream.fileno(), 1 << 16)


def number(line, name, lowest):
    value = line.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value < math.inf:
        raise ValueError(name)
    return value


def sample(text, o, cases):
    """A line of the protocol as a sample, or the text of its "missing". ValueError when it is neither."""
    line = json.loads(text)
    if not isinstance(line, dict):
        raise ValueError("not an object")
    if isinstance(line.get("missing"), str):
        return masked(line["missing"])
    case = (line.get("task"), number(line, "batch", 1), number(line, "threads", 1))
    correct, n, name = number(line, "correct", 0), number(line, "n", 1), line.get("peer")
    if case not in cases or n != o.test_count or correct > n or not isinstance(name, str) or not name:
        raise ValueError("not asked for")
    found = {"case": case, "name": masked(name), "variant": masked(str(line.get("variant") or ""))}
    found["accuracy"] = 100 * correct / n
    if case[0] == "epoch":
        seconds = number(line, "seconds", 1e-9)
        return found | {"rate": o.train_count / seconds, "p50": 1e6 * seconds, "p99": None}
    rate = number(line, "images_per_second", 1e-9)
    return found | {"rate": rate, "p50": number(line, "p50_us", 0), "p99": number(line, "p99_us", 0)}


class Peer:
    """A way to start an engine. absent: why it is not started any more, as in the table."""

    def __init__(self, engine, script, blas_core=None):
        self.engine, self.script, self.blas_core, self.absent = engine, script, blas_core, None

    def turn(self, o, cases, number_of_round):
        """The samples of a round; none when it failed."""
        argv = [os.path.join(o.peers, self.script), "--fp32", o.fp32, "--int8", o.int8, "--data", o.data]
        argv += ["--batches", joined(o.batch), "--threads", joined(o.threads), "--seconds", f"{o.seconds:g}"]
        argv += ["--round", str(number_of_round), "--epochs", "0" if o.no_training else "1"]
        env = dict(os.environ, OPENBLAS_CORETYPE=self.blas_core) if self.blas_core else None
        samples = []
        try:
            output = read_process(argv, o.limit, env)
            if output and not output.endswith("\n"):
                raise Failure("printed a line that does not end")
            for line in output.splitlines():
                try:
                    found = sample(line, o, cases)
                except (ValueError, TypeError) as error:
                    what = "printed what is no measurement that was asked for: " + masked(line)[:100]
                    raise Failure(what) from error
                if isinstance(found, str):
                    self.absent = "missing: " + found
                    return []
                samples.append(found)
            if not samples:
                raise Failure("measured nothing")
        except OSError as error:
            self.absent = f"missing: round {number_of_round}: cannot be started: {error.strerror}"
            return []
        except Failure as failure:
            self.absent = f"failed: round {number_of_round}: {failure}"
            return []
        return samples


def all_peers(provenance):
    """PyTorch runs with the kernels that OpenBLAS picks and, where mnistq has found better ones, with those too."""
    better = re.search(r", (\w+) kernels.*OpenBLAS itself picked", provenance["BLAS"])
    peers = [Peer(TORCH, "torch_peer.py")]
    if better:
        peers.append(Peer(TORCH, "torch_peer.py", better[1]))
    return peers + [Peer(ONNX, "onnx_peer.mjs")]


def run_rounds(o, cases, peers):
    """All samples, each with its engine and round, and the notes on the machine. Peers first: without any there is
    nothing to compare with."""
    samples, notes = [], []
    for number_of_round in range(1, o.rounds + 1):
        for peer in peers:
            if peer.absent or any(p.engine == peer.engine and (p.absent or "").startswith("missing") for p in peers):
                continue
            progress(f"round {number_of_round} of {o.rounds}: {peer.engine}")
            turn = peer.turn(o, cases, number_of_round)
            samples += [s | {"engine": peer.engine, "round": number_of_round} for s in turn]
            if peer.absent:
                progress("")
                core = f" with {peer.blas_core} kernels" if peer.blas_core else ""
                print(f"compare.py: {peer.engine}{core}: {peer.absent}", file=sys.stderr)
        if not samples:
            raise Failure("no peer to compare with, nothing was measured or written (make peers-install gets them)")
        progress(f"round {number_of_round} of {o.rounds}: {OURS}")
        ours, notes = our_turn(o, number_of_round)
        samples += [s | {"engine": OURS, "round": number_of_round} for s in ours]
    progress("")
    return samples, notes


# ---- the table --------------------------------------------------------------------------------------------------


def middle(values, key=None):
    return sorted(values, key=key)[len(values) // 2]


def fastest(samples, engine, case):
    """The fastest variant of an engine on a case, whose batch and threads may be None (any): its sample in the middle,
    the number of variants, all its samples. None without any."""
    variants = {}
    for s in samples:
        if s["engine"] == engine and all(mine in (None, its) for mine, its in zip(case, s["case"])):
            variants.setdefault((s["case"], s["variant"]), []).append(s)
    if not variants:
        return None
    middles = {key: middle(group, lambda s: s["rate"]) for key, group in variants.items()}
    best = max(middles, key=lambda key: middles[key]["rate"])
    return middles[best], len(variants), variants[best]


def times(prefix, found):
    s, _, group = found
    row = {prefix + "images_per_second": f"{s['rate']:.0f}"}
    for name in ("p50", "p99"):
        if s[name] is not None:
            row[f"{prefix}{name}_us"] = f"{s[name]:.{2 if s[name] < 100 else 0}f}"
    return row | {prefix + "accuracy_percent": f"{middle([g['accuracy'] for g in group]):.2f}"}


def case_rows(samples, case):
    """A row for each engine that measured the case; one with ours alone where there is none."""
    ours, rows = fastest(samples, OURS, case), []
    of_peak = ours[0]["of_peak"]
    own = {"task": case[0], "batch": str(case[1]), "threads": str(case[2])} | times("ours_", ours)
    own["ours_of_peak_percent"] = "" if of_peak is None else f"{of_peak:.1f}"
    for engine in (TORCH, ONNX):
        peer = fastest(samples, engine, case)
        if not peer:
            continue
        s, variants, group = peer
        ratios = [a["rate"] / b["rate"] for a in ours[2] for b in group if a["round"] == b["round"]]
        remark = s["variant"] + (": " if s["variant"] else "") + f"fastest of {variants} ways"
        rows.append(
            own
            | times("peer_", peer)
            | {
                "peer": s["name"],
                "ours_over_peer": f"{ours[0]['rate'] / s['rate']:.2f}",
                "lowest_over_rounds": f"{min(ratios):.2f}",
                "highest_over_rounds": f"{max(ratios):.2f}",
                "remark": remark if variants > 1 else s["variant"],
            }
        )
    return rows or [own]


def target_note(samples, case, engine, wanted):
    task, batch, threads = case
    what = f"training {task}, each on its best number of threads"
    if batch:
        what = f"{task}, batch {batch}, {plural(threads, 'thread')}"
    ours, peer = fastest(samples, OURS, case), engine and fastest(samples, engine, case)
    if not ours or (engine and not peer):
        return f"Target not measured: {what}" + (f" against {engine}." if engine else ".")
    if not engine:
        us = ours[0]["p50"]
        return f"Target {'met' if us <= wanted else 'MISSED'}: {what}: {us:.2f} us, wanted at most {wanted:.2f}."
    ratio = ours[0]["rate"] / peer[0]["rate"]
    return (
        f"Target {'met' if ratio >= wanted else 'MISSED'}: {what}: {ratio:.2f} times {engine} "
        f"({ours[0]['p50'] / 1e6:.4g} s a run against {peer[0]['p50'] / 1e6:.4g} s), wanted at least {wanted:.2f}."
    )


def method_notes(o):
    return [
        "What to see: how much faster, or slower, the same answers come here than from the engines that one would take "
        "instead.",
        f"Rounds: {o.rounds}, in each of which every engine has one turn; a turn of a peer times each case for "
        f"{o.seconds:g} s, one of ours for {o.runs} runs, and takes the median of the wall time. A row shows the round "
        "in the middle by images a second (of training images in an epoch), and the median of the accuracies. "
        "ours_over_peer is the quotient of the two; the columns after it its extremes in one round.",
        "Ours starts from the bytes of the images. Peers are given float pixels made before the clock starts, ONNX "
        "Runtime also bytes where that is faster. PyTorch quantizes by itself, on the same 512 images.",
    ]


# ---- output -----------------------------------------------------------------------------------------------------


def write_whole(path, write):
    """Through a temporary name: readers see the old file or the new one."""
    temporary = f"{path}.partial-{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as f:
            write(f)
        os.replace(temporary, path)
    except OSError as error:
        raise Failure(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def write_markdown(f, rows, notes, provenance):
    cells = [[c.replace("_", " ") for c in COLUMNS]]
    cells += [[row.get(c, "").replace("|", "\\|") for c in COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    cells.insert(1, ["-" * w if c in TEXTS else "-" * (w - 1) + ":" for c, w in zip(COLUMNS, widths)])
    f.write(f"# {TITLE}\n\n")
    for line in cells:
        padded = (t.ljust(w) if c in TEXTS else t.rjust(w) for c, w, t in zip(COLUMNS, widths, line))
        f.write("| " + " | ".join(padded) + " |\n")
    f.write("\n" + "".join(f"{note}\n\n" for note in notes) + "Provenance:\n")
    f.writelines(f"- {name}: `{value.replace('`', chr(39))}`\n" for name, value in provenance.items())


def write_csv(f, rows, provenance):
    writer = csv.writer(f, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row.get(c, "") for c in COLUMNS] for row in rows)
    f.writelines(f"# {name}: {value}\n" for name, value in provenance.items())


def print_json(rows, notes, provenance):
    def value(row, column):
        text = row.get(column, "")
        return None if not text else text if column in TEXTS else float(text) if "." in text else int(text)

    rows = [{c: value(row, c) for c in COLUMNS} for row in rows]
    print(json.dumps({"title": TITLE, "rows": rows, "notes": notes, "provenance": provenance}, indent=2))


def print_table(rows, notes):
    """Within 80 columns; the files have all of it."""
    shown = "{:5} {:>6} {:>3}  {:>9}  {:19.19} {:>9} {:>7}  {}"
    print(TITLE + "\n")
    print(shown.format("task", "batch", "thr", "ours im/s", "peer", "peer im/s", "ours/p.", "over rounds"))
    for row in (r for r in rows if r["task"] != "all"):
        names = ("ours_over_peer", "lowest_over_rounds", "highest_over_rounds")
        ratios = (float(row.get(name, "nan")) for name in names)
        ratio, lowest, highest = ("" if r != r else f"{r:.{2 if r < 100 else 0}f}" for r in ratios)
        names = ("task", "batch", "threads", "ours_images_per_second", "peer", "peer_images_per_second")
        print(shown.format(*(row.get(n, "") for n in names), ratio, lowest and f"{lowest}-{highest}").rstrip())
    print()
    for text in [f"{r['peer']}: {r['remark']}" for r in rows if r["task"] == "all"] + notes:
        print(textwrap.fill(text, 78, initial_indent="  ", subsequent_indent="  "))


# ---- the command ------------------------------------------------------------------------------------------------


def joined(values):
    return ",".join(map(str, values))


def within(kind, lowest, highest):
    def read(text):
        value = kind(text)
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text}: from {lowest} to {highest} expected")
        return value

    return read


def list_of(highest):
    return lambda text: [within(int, 1, highest)(word) for word in text.split(",")]


def options():
    here, cores = os.path.dirname(os.path.abspath(__file__)), os.cpu_count() or 1
    formatter = type("Formatter", (argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter), {})
    p = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    p.add_argument("fp32", metavar="FP32MODEL")
    p.add_argument("int8", metavar="INT8MODEL")
    p.add_argument("--data", default="data/mnist", help="folder with the four IDX files, which the peers read too")
    p.add_argument("--results", default="results/mnist", help="folder for the table")
    p.add_argument("--mnistq", default=os.path.join(here, "../../build/mnistq"), help="our program")
    p.add_argument("--peers", default=here, help="folder with torch_peer.py and onnx_peer.mjs")
    p.add_argument("--batch", type=list_of(100000), default=[1, 1000, 10000], help="batch sizes")
    p.add_argument("--threads", type=list_of(256), default=[1, cores] if cores > 1 else [1], help="numbers of threads")
    p.add_argument("--rounds", type=within(int, 1, 100), default=3, help="turns of each engine")
    p.add_argument("--seconds", type=within(float, 0.001, 60), default=0.3, help="of each timing of a peer")
    p.add_argument("--runs", type=within(int, 7, 10000), default=42, help="timed batches of ours, see mnistq bench")
    p.add_argument("--limit", type=within(int, 1, 86400), default=300, help="seconds that a peer's turn may take")
    p.add_argument("--no-training", action="store_true", help="leave out the training epochs")
    p.add_argument("--json", action="store_true", help="print the table as JSON")
    o = p.parse_args()
    if o.data == "digits":
        p.error("--data digits: the peers need files to read")
    return o


def compare(o):
    provenance = look_before(o)
    cases = [(task, batch, threads) for task in ("fp32", "int8") for batch in o.batch for threads in o.threads]
    cases += [] if o.no_training else [("epoch", TRAINING_BATCH, threads) for threads in o.threads]
    peers = all_peers(provenance)
    samples, machine_notes = run_rounds(o, cases, peers)
    rows = [row for case in cases for row in case_rows(samples, case)]
    for p in peers:
        if p.absent:
            core = f", {p.blas_core} kernels" if p.blas_core else ""
            rows.append({"task": "all", "peer": p.engine + core, "remark": p.absent})
    notes = method_notes(o) + [target_note(samples, *target) for target in TARGETS] + machine_notes
    provenance["command"] = shlex.join(["scripts/peers/compare.py", *sys.argv[1:]])
    try:
        os.makedirs(o.results, exist_ok=True)
    except OSError as error:
        raise Failure(f"{o.results}: the folder cannot be made: {error.strerror}") from error
    write_whole(os.path.join(o.results, "peers.md"), lambda f: write_markdown(f, rows, notes, provenance))
    write_whole(os.path.join(o.results, "peers.csv"), lambda f: write_csv(f, rows, provenance))
    if o.json:
        print_json(rows, notes, provenance)
    else:
        print_table(rows, notes)
        print(f"\nWritten to {o.results}: peers (.md and .csv)")


def main():
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda which, _: sys.exit(128 + which))
    try:
        compare(options())
    except Failure as failure:
        progress("")
        print(f"compare.py: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        progress("")
        sys.exit(130)


main()
