"""Send run records to a real MLflow server and compare what it has with the records.

    pip install -r xtask/pytorch/requirements-mlflow.txt
    python xtask/pytorch/check_mlflow.py target/release/tallow runs/quickstart/*

Starts a server in a temporary folder, runs `tallow track` on the folders, and reads the runs with MLflow's own client. Every key of
config.toml must be a parameter with its value, every figure of metrics.jsonl and summary.json a value of a metric, and nothing else may be
there. The seed, the digest of the data and the environment must be tags. Then the command runs again, after which nothing may have
changed, and an unfinished copy of each run is sent, finished, and sent again. Exits with 1 and says what differs, if anything does.
"""

import contextlib
import datetime
import json
import math
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request

TALLOW, FOLDERS = pathlib.Path(sys.argv[1]).resolve(), [pathlib.Path(folder).resolve() for folder in sys.argv[2:]]
# What is no metric of an epoch.
NO_METRIC = {"epoch", "metrics"}


def stop(process):
    """Ends the server and the workers it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait()


def start_server(folder):
    """A server with its database in `folder`: its process and address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # Jobs are for other parts of MLflow, and make the start slow.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"]
    with open(f"{folder}/server.log", "w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            return process, address
        except OSError:
            time.sleep(1)
    stop(process)
    sys.exit(f"the server did not start:\n{pathlib.Path(folder, 'server.log').read_text()}")


def track(address, folders, experiment):
    """What the command says of each run."""
    command = [TALLOW, "track", *folders, "--mlflow", address, "--experiment", experiment, "--json"]
    output = subprocess.run(command, capture_output=True, text=True)
    if output.returncode != 0:
        sys.exit(f"tallow track exits with {output.returncode}: {output.stderr}")
    return json.loads(output.stdout)


def flattened(value, key=""):
    """Keys with dots and values, with an index for each table in a list."""
    if isinstance(value, dict) and value:
        items = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = enumerate(value)
    else:
        return {key: value}
    return {name: leaf for k, v in items for name, leaf in flattened(v, f"{key}.{k}" if key else str(k)).items()}


def same(value, text):
    """Whether a parameter's text is a value of config.toml."""
    if isinstance(value, str):
        return value[:6000] == text
    return tomllib.loads(f"x = {text}")["x"] == value


def figures(folder):
    """What the record says, by metric and step. A figure that is not finite is null in the record."""
    found, last = {}, 0
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        last = row["epoch"]
        own = {key: value for key, value in row.items() if key not in NO_METRIC} | row.get("metrics", {})
        found |= {(key, last): value for key, value in own.items()}
    if (folder / "summary.json").exists():
        metrics = json.loads((folder / "summary.json").read_text())["metrics"]
        found |= {(f"final/{key}", last): value for key, value in metrics.items()}
    return {key: math.nan if value is None else value for key, value in found.items()}


def tags(folder):
    """Tags that a run must have."""
    about = json.loads((folder / "environment.json").read_text())
    run, machine = about["run"], about["environment"]
    return {
        "tallow.run": f"{run['experiment']}/{folder.name}",
        "tallow.seed": str(run["seed"]),
        "tallow.data.digest": run["dataset"]["digest"],
        "tallow.version": machine["tallow"],
        "tallow.device": machine["device"],
        "tallow.threads": str(machine["threads"]),
        "tallow.platform": machine["platform"],
        "tallow.cpu": machine["cpu"],
    } | ({"tallow.commit": machine["commit"]} if machine["commit"] else {})


def check(client, folder, run_id, status):
    """What differs, and what was read."""
    run = client.get_run(run_id)
    wrong = []
    if (run.info.status, run.info.run_name) != (status, folder.name):
        wrong.append(f"status {run.info.status} and name {run.info.run_name}, expected {status} and {folder.name}")
    start = datetime.datetime.strptime(folder.name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    if run.info.start_time != start.timestamp() * 1000 or not (run.info.end_time or 0) >= run.info.start_time:
        wrong.append(f"start {run.info.start_time}, end {run.info.end_time}, expected a start at {start}")

    settings, params = flattened(tomllib.loads((folder / "config.toml").read_text())), run.data.params
    wrong += [f"parameter {key} is missing" for key in settings.keys() - params.keys()]
    wrong += [f"parameter {key} is not in the record" for key in params.keys() - settings.keys()]
    for key in settings.keys() & params.keys():
        if not same(settings[key], params[key]):
            wrong.append(f"parameter {key} is {params[key]!r}, in the record {settings[key]!r}")

    points = [(p.key, p.step, p.value) for key in run.data.metrics for p in client.get_metric_history(run_id, key)]
    found, record = {(key, step): value for key, step, value in points}, figures(folder)
    if len(found) != len(points):
        wrong.append(f"{len(points)} values of metrics at {len(found)} steps")
    wrong += [f"metric {key} of epoch {step} is missing" for key, step in record.keys() - found.keys()]
    wrong += [f"metric {key} of epoch {step} is not in the record" for key, step in found.keys() - record.keys()]
    for key in record.keys() & found.keys():
        if record[key] != found[key] and not (math.isnan(record[key]) and math.isnan(found[key])):
            wrong.append(f"metric {key[0]} of epoch {key[1]} is {found[key]!r}, in the record {record[key]!r}")

    for key, value in tags(folder).items():
        if run.data.tags.get(key) != value:
            wrong.append(f"tag {key} is {run.data.tags.get(key)!r}, in the record {value!r}")
    return wrong, f"{status}, {len(params)} parameters, {len(points)} values of {len(run.data.metrics)} metrics, {len(tags(folder))} tags equal"


def expect(rows, actions, what):
    """What differs between the actions of a call and those expected."""
    found = [row["action"] for row in rows]
    return [] if found == actions else [f"{what}: {found}, expected {actions}"]


def check_all(address, scratch):
    # Read from the environment when it is imported.
    from mlflow import MlflowClient

    client = MlflowClient(address)
    failed = []

    def compare(experiment, folders, rows):
        for folder, row in zip(folders, rows, strict=True):
            status = "FINISHED" if (folder / "summary.json").exists() else "KILLED"
            wrong, read = check(client, folder, row["run_id"], status)
            failed.extend(f"{folder}: {line}" for line in sorted(wrong))
            if not wrong:
                print(f"{folder.parent.name}/{folder.name} in `{experiment}`, {row['action']}: {read}")
        there = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
        if len(there) != len(folders):
            failed.append(f"{len(there)} runs in `{experiment}`, expected {len(folders)}")

    count = len(FOLDERS)
    rows = track(address, FOLDERS, "whole")
    failed.extend(expect(rows, ["created"] * count, "the first call"))
    compare("whole", FOLDERS, rows)
    again = track(address, FOLDERS, "whole")
    failed.extend(expect(again, ["unchanged"] * count, "the second call"))
    compare("whole", FOLDERS, again)

    # As if each run had been interrupted in its last epoch, and continued.
    finished = [folder for folder in FOLDERS if (folder / "summary.json").exists()]
    copies = [scratch / str(number) / folder.name for number, folder in enumerate(finished)]
    for folder, copy in zip(finished, copies):
        copy.mkdir(parents=True)
        for name in ["environment.json", "config.toml"]:
            shutil.copy(folder / name, copy)
        lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
        (copy / "metrics.jsonl").write_text("".join(lines[:-1]))
    if copies:
        compare("continued", copies, track(address, copies, "continued"))
        for folder, copy in zip(finished, copies):
            for name in ["metrics.jsonl", "summary.json"]:
                shutil.copy(folder / name, copy)
        rows = track(address, copies, "continued")
        failed.extend(expect(rows, ["updated"] * len(copies), "the call after the end"))
        compare("continued", copies, rows)
    return failed


def main():
    if not FOLDERS:
        sys.exit(__doc__)
    # The user's own server, credentials and proxies.
    for name in list(os.environ):
        if name.startswith("MLFLOW_") or name.lower().endswith("_proxy"):
            del os.environ[name]
    with tempfile.TemporaryDirectory() as folder:
        process, address = start_server(folder)
        try:
            failed = check_all(address, pathlib.Path(folder, "copies"))
        finally:
            stop(process)
    for line in failed:
        print(line, file=sys.stderr)
    sys.exit(bool(failed))


main()
