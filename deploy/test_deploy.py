"""What is shipped fits together, as far as that shows without running containers: files are what their schemas say, the
command line takes every command in them, probes answer, and every metric of the dashboard is exposed.

    pip install -r deploy/requirements.txt
    pytest deploy/test_deploy.py            # ZKINFER=target/release/zkinfer
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import urllib.request

import kubernetes_validate
import promql_parser
import pytest
import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
DATA = ROOT / "examples" / "data"
ZKINFER = os.environ.get("ZKINFER", str(ROOT / "target" / "release" / "zkinfer"))
# Of Kubernetes, the newest that the schemas are there for.
KUBERNETES = kubernetes_validate.latest_version()

COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text())
OBJECTS = list(yaml.safe_load_all((HERE / "kubernetes.yaml").read_text()))
DASHBOARD = json.loads((HERE / "grafana" / "dashboards" / "zkinfer.json").read_text())


def containers():
    for thing in OBJECTS:
        if thing["kind"] == "Deployment":
            yield from thing["spec"]["template"]["spec"]["containers"]


def commands():
    """Every command of ours, as compose and Kubernetes give it to the image's entry point."""
    ours = [service["command"] for service in COMPOSE["services"].values() if service["image"] == "zkinfer"]
    return ours + [container["args"] for container in containers()]


def parses(command):
    """Whether the command line takes all of this: it looks at what stands before --help."""
    done = subprocess.run([ZKINFER, *command, "--help"], capture_output=True, text=True)
    return done.returncode == 0 and "Usage: zkinfer" in done.stdout


def flag(command, name):
    return command[command.index(name) + 1]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_are_commands(command):
    assert parses(command)
    # Control: neither flags that there are not nor values that are none.
    assert not parses([*command, "--nothing"])
    assert not parses([*command, "--threads", "x"])
    assert flag(command, "--listen").startswith("0.0.0.0:")


def test_there_are_commands_of_both_services():
    assert sorted(command[0] for command in commands()) == ["host", "host", "serve", "serve"]


def test_compose_is_what_its_schema_says():
    subprocess.run(["check-jsonschema", "--builtin-schema", "vendor.compose-spec", HERE / "compose.yaml"], check=True)
    for service in COMPOSE["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            # models/ is the reader's; all else is here, or a volume.
            assert source == "./models" or source in COMPOSE["volumes"] or (HERE / source).exists(), source
        for secret in service.get("secrets", []):
            assert secret in COMPOSE["secrets"]
    for service in ("host", "serve"):
        for part in COMPOSE["services"][service]["command"]:
            if part.startswith("/run/secrets/"):
                assert part.removeprefix("/run/secrets/") in COMPOSE["services"][service]["secrets"]


def test_kubernetes_objects_are_what_their_schemas_say():
    kinds = [thing["kind"] for thing in OBJECTS]
    assert kinds.count("Deployment") == kinds.count("Service") == 2
    for thing in OBJECTS:
        kubernetes_validate.validate(thing, KUBERNETES, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**OBJECTS[0], "spec": {"replicas": "two"}}, KUBERNETES, strict=True)


def test_probes_and_services_name_ports_that_are_listened_on():
    for container in containers():
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        listens = {int(flag(container["args"], f"--{name}").split(":")[1]) for name in ("listen", "operations")}
        assert set(ports.values()) == listens
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] == "operations"
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        for part in container["args"]:
            if part.startswith("/"):
                assert any(part.startswith(place + "/") for place in mounted), part
    targets = yaml.safe_load((HERE / "prometheus.yaml").read_text())["scrape_configs"]
    scraped = {target for job in targets for config in job["static_configs"] for target in config["targets"]}
    listens = {
        f"{name}:{flag(service['command'], '--operations').split(':')[1]}"
        for name, service in COMPOSE["services"].items()
        if service["image"] == "zkinfer"
    }
    assert scraped == listens


def test_there_is_time_to_drain():
    for command in ("host", "serve"):
        text = subprocess.run([ZKINFER, command, "--help"], capture_output=True, text=True, check=True).stdout
        drain = int(re.search(r"--drain-timeout .*?\[default: (\d+)\]", text, re.DOTALL)[1])
        assert drain < 60
    assert all(s["stop_grace_period"] == "60s" for s in COMPOSE["services"].values() if s["image"] == "zkinfer")


def test_the_image_runs_as_nobody():
    lines = (HERE / "Containerfile").read_text().splitlines()
    final = lines[max(i for i, line in enumerate(lines) if line.startswith("FROM ")) :]
    [user] = [line.split()[1] for line in final if line.startswith("USER ")]
    assert all(int(number) > 0 for number in user.split(":"))
    assert 'ENTRYPOINT ["zkinfer"]' in final
    for container in containers():
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]


class Service:
    def __init__(self, folder, *arguments):
        command = [ZKINFER, "--json", *arguments, "--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"]
        self.log = folder / f"{arguments[0]}.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
        self.url = json.loads(self.process.stdout.readline())["url"]

    def get(self, path):
        with urllib.request.urlopen(self.url + path) as answer:
            return answer.read().decode()


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deploy")
    files = ["compile", DATA / "digits.onnx", "--calibration", DATA / "digits.npz", "-o", "digits"]
    subprocess.run([ZKINFER, *files], cwd=folder, check=True, capture_output=True)
    host = Service(folder, "host", "digits.model")
    serve = Service(folder, "serve", "--card", "digits.card")
    pin = ["--card", "digits.card", "--host-key", json.loads(host.get("/v1/host"))["key"]]
    # So that what is counted by label is there.
    ask = ["ask", host.url, *pin, "--input", DATA / "digits.npz", "--rate", "1"]
    subprocess.run([ZKINFER, *ask], cwd=folder, check=True, capture_output=True)
    question = urllib.request.Request(
        f"{serve.url}/v1/verify",
        json.dumps({"card": json.loads(host.get("/v2/models/digits"))["versions"][0], "proof": ""}).encode(),
        {"content-type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(question)
    assert refused.value.code == 400
    yield {"host": host, "serve": serve}
    for service in (host, serve):
        service.process.terminate()
        service.process.wait(60)


def exposed(text):
    """Names of samples in Prometheus' text format."""
    return {re.match(r"[a-zA-Z_:][a-zA-Z0-9_:]*", line)[0] for line in text.splitlines() if line and line[0] != "#"}


def selected(expression):
    """Names of the metrics in an expression, after parsing it."""
    promql_parser.parse(expression)
    return set(re.findall(r"\bzkinfer_[a-z0-9_]+", expression))


def test_the_dashboard_shows_metrics_that_there_are(services):
    there = set().union(*(exposed(service.get("/metrics")) for service in services.values()))
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert len(panels) > 10 and len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in panels:
        for target in panel["targets"]:
            names = selected(target["expr"])
            assert names, target
            assert names <= there, (panel["title"], names - there)
    with pytest.raises(ValueError):
        selected("sum(rate(zkinfer_proofs_total[5m])")


@pytest.mark.parametrize("service", ["host", "serve"])
def test_probes_answer(services, service):
    # As Kubernetes asks.
    [container] = [c for c in containers() if c["name"] == service]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert services[service].get(container[probe]["httpGet"]["path"])
    # As compose does: the same command, at the port that is listened on here.
    assert shutil.which("bash")
    test = COMPOSE["services"][service]["healthcheck"]["test"]
    assert test[0] == "CMD"
    port = services[service].url.rsplit(":", 1)[1]
    own = flag(COMPOSE["services"][service]["command"], "--operations").split(":")[1]
    command = [part.replace(f"/{own} ", f"/{port} ") for part in test[1:]]
    assert command != test[1:]
    assert subprocess.run(command).returncode == 0
    broken = [part.replace("/health/ready", "/health/nothing") for part in command]
    assert subprocess.run(broken).returncode != 0
