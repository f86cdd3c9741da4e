"""Installs the chart on a real Kubernetes API server: install, upgrade, rollback, uninstall, each set of values, with CRDs.

`make chart-server` runs it; `make test` does not. It builds kube-apiserver with Go 1.26 or newer the first time (six minutes on two cores; kept in
the cache) and takes etcd from Debian. There are no controllers: objects are checked, defaulted and stored, and no pod starts.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from chart import CHART, HELM, NAMESPACE, SETS, render

from throng.testing.certificates import CertificateAuthority, write_tls_files
from throng.testing.servers import free_port
from throng.testing.servers.packages import install_debian_packages

VERSION = "1.37.2"
CACHE = pathlib.Path.home() / ".cache" / "throng" / "kubernetes"
SERVER = CACHE / f"kube-apiserver-{VERSION}"
START_SECONDS = 60.0
TOKEN = "token-of-the-test"


def build() -> None:
    """Builds kube-apiserver where the cache has none. It may be interrupted and run again: Go goes on where it was.

    Raises:
        SystemExit: Go is missing or too old.
    """
    if SERVER.exists():
        return
    if shutil.which("go") is None:
        raise SystemExit("Go 1.26 or newer is needed to build kube-apiserver")
    source = CACHE / "source"
    source.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}

    def go(*arguments: str) -> str:
        return subprocess.run(["go", *arguments], cwd=source, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    (source / "main.go").write_text(
        'package main\n\nimport _ "k8s.io/kubernetes/cmd/kube-apiserver/app"\n\nfunc main() {}\n', encoding="utf-8"
    )
    (source / "go.mod").write_text("module apiserver\n\ngo 1.26\n", encoding="utf-8")
    folder = pathlib.Path(re.search(r'"Dir": "([^"]+)"', go("mod", "download", "-json", f"k8s.io/kubernetes@v{VERSION}"))[1])  # type: ignore[index]
    own = (folder / "go.mod").read_text(encoding="utf-8")
    staging = sorted(
        set(re.findall(r"^\s+(k8s\.io/\S+) => \./staging", own, re.MULTILINE))
        or set(re.findall(r"^\s+(k8s\.io/[\w-]+) v0\.0\.0", own, re.MULTILINE))
    )
    minor = VERSION.partition(".")[2]
    lines = [f"require k8s.io/kubernetes v{VERSION}", *(f"replace {name} => {name} v0.{minor}" for name in staging)]
    (source / "go.mod").write_text("module apiserver\n\ngo 1.26\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    shutil.copyfile(folder / "go.sum", source / "go.sum")
    (source / "go.sum").chmod(0o644)
    print("== kube-apiserver is built, six minutes or more", flush=True)
    flags = " ".join(
        f"-X k8s.io/component-base/version.{name}={value}"
        for name, value in {
            "gitVersion": f"v{VERSION}",
            "gitMajor": "1",
            "gitMinor": VERSION.split(".")[1],
            "gitTreeState": "clean",
        }.items()
    )
    go("build", "-trimpath", "-ldflags", f"-s -w {flags}", "-o", str(SERVER), "k8s.io/kubernetes/cmd/kube-apiserver")


@contextlib.contextmanager
def started(command: list[str], log: pathlib.Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the time of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def api_server(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """etcd and an API server; gives a kubeconfig."""
    authority = CertificateAuthority("api server", life_days=2)
    files = write_tls_files(folder, "server", authority, authority.issue("127.0.0.1", "kubernetes.default.svc"))
    (folder / "tokens").write_text(f'{TOKEN},admin,admin,"system:masters"\n', encoding="utf-8")
    etcd_port, peer_port, port = free_port(), free_port(), free_port()
    etcd = f"http://127.0.0.1:{etcd_port}"
    command = ["etcd", "--data-dir", str(folder / "etcd"), "--listen-client-urls", etcd, "--advertise-client-urls", etcd]
    command += ["--listen-peer-urls", f"http://127.0.0.1:{peer_port}", "--unsafe-no-fsync"]
    serve = [str(SERVER), "--etcd-servers", etcd, "--secure-port", str(port), "--bind-address", "127.0.0.1"]
    serve += [
        "--tls-cert-file",
        str(files.cert_file),
        "--tls-private-key-file",
        str(files.key_file),
        "--token-auth-file",
        str(folder / "tokens"),
    ]
    serve += ["--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", str(files.cert_file)]
    serve += ["--service-account-signing-key-file", str(files.key_file), "--authorization-mode", "RBAC"]
    serve += ["--service-cluster-ip-range", "10.0.0.0/16,fd00:10::/112", "--disable-admission-plugins", "ServiceAccount"]
    with started(command, folder / "etcd.log"), started(serve, folder / "apiserver.log") as process:
        config = folder / "kubeconfig"
        config.write_text(
            f"""apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: {files.ca_file}}}}}]
users: [{{name: u, user: {{token: {TOKEN}}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
""",
            encoding="utf-8",
        )
        wait_ready(port, files.ca_file, process, folder / "apiserver.log")
        yield config


def wait_ready(port: int, ca_file: pathlib.Path, process: subprocess.Popen[bytes], log: pathlib.Path) -> None:
    """Waits until the API server says that it is ready.

    Raises:
        SystemExit: it ends, or takes too long; with the end of its log.
    """
    import ssl

    context = ssl.create_default_context(cafile=str(ca_file))
    deadline = time.monotonic() + START_SECONDS
    request = urllib.request.Request(f"https://127.0.0.1:{port}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    while True:
        try:
            if urllib.request.urlopen(request, timeout=5, context=context).status == 200:
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the API server does not start:\n{log.read_text(errors='replace')[-3000:]}") from None
        time.sleep(0.2)


def helm(config: pathlib.Path, *arguments: str) -> str:
    """Runs helm against the server.

    Raises:
        SystemExit: it refuses; with its words.
    """
    command = [HELM, "--kubeconfig", str(config), "--namespace", NAMESPACE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


CRDS = {
    "cert-manager.io": {"v1": ("Issuer", "Certificate")},
    "gateway.networking.k8s.io": {"v1": ("Gateway", "HTTPRoute")},
    "monitoring.coreos.com": {"v1": ("ServiceMonitor", "PrometheusRule")},
}


def definitions() -> str:
    """CRDs of the foreign kinds, open ones: what they hold is for their own controllers to judge."""
    parts = []
    for group, versions in CRDS.items():
        for version, kinds in versions.items():
            for kind in kinds:
                plural = "gateways" if kind == "Gateway" else f"{kind.lower()}s"
                approved = '\n  annotations: {api-approved.kubernetes.io: "unapproved, a test"}' if group.endswith("k8s.io") else ""
                parts.append(
                    f"""apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: {plural}.{group}{approved}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: {kind}, plural: {plural}, singular: {kind.lower()}}}
  versions:
    - name: {version}
      served: true
      storage: true
      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"""
                )
    return "---\n".join(parts)


def install_definitions(config: pathlib.Path, folder: pathlib.Path) -> None:
    """Installs the CRDs by a chart of their own."""
    chart = folder / "definitions"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: definitions\nversion: 0.0.1\n", encoding="utf-8")
    (chart / "templates" / "all.yaml").write_text(definitions(), encoding="utf-8")
    helm(config, "install", "definitions", str(chart), "--create-namespace")
    time.sleep(1)


def check(config: pathlib.Path, name: str) -> None:
    """Install, upgrade, rollback, uninstall of one set of values."""
    files = [part for file in SETS[name] for part in ("-f", str(file))]
    common = ["throng", str(CHART), *files, "--no-hooks"]
    helm(config, "install", *common)
    helm(config, "upgrade", *common, "--set", "pods.annotations.second=time")
    helm(config, "rollback", "throng", "1", "--no-hooks")
    kept = helm(config, "get", "manifest", "throng")
    wanted = sum(1 for one in render(name) if "helm.sh/hook" not in one["metadata"].get("annotations", {}))
    kinds = re.findall(r"^kind: (\w+)", kept, re.MULTILINE)
    if len(kinds) != wanted:
        raise SystemExit(f"{name}: {len(kinds)} objects instead of {wanted}")
    check_hooks(config, name)
    helm(config, "uninstall", "throng", "--no-hooks")
    print(f"== {name}: {wanted} objects were taken, upgraded, rolled back and removed", flush=True)


def check_hooks(config: pathlib.Path, name: str) -> None:
    """Has the server judge the hooks: they would wait for pods that nobody starts."""
    import yaml

    hooks = [one for one in render(name) if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    with tempfile.TemporaryDirectory() as folder:
        chart = pathlib.Path(folder) / "hooks"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: hooks\nversion: 0.0.1\n", encoding="utf-8")
        for one in hooks:
            del one["metadata"]["annotations"]
        (chart / "templates" / "all.yaml").write_text(yaml.safe_dump_all(hooks), encoding="utf-8")
        if hooks:
            helm(config, "install", "hooks", str(chart))
            helm(config, "uninstall", "hooks")


def check_refusal(config: pathlib.Path) -> None:
    """Shows that the server does judge: a field that nobody knows is refused."""
    command = [HELM, "--kubeconfig", str(config), "--namespace", NAMESPACE, "install", "wrong", str(CHART), "--no-hooks"]
    command += [part for file in SETS["small"] for part in ("-f", str(file))]
    command += ["--set-json", 'networkPolicy.clients=[{"nobody":1}]']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 0 or "nobody" not in done.stderr:
        raise SystemExit(f"a wrong peer was taken: {done.stdout}{done.stderr}")
    helm(config, "uninstall", "wrong", "--no-hooks", "--ignore-not-found")
    print("== nonsense is refused", flush=True)


def main() -> int:
    """Builds, starts, installs; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build-only", action="store_true", help="build kube-apiserver and start nothing")
    arguments = parser.parse_args()
    build()
    if arguments.build_only:
        return 0
    if shutil.which("etcd") is None and not install_debian_packages(["etcd-server"]):
        return 2
    with tempfile.TemporaryDirectory() as folder, api_server(pathlib.Path(folder)) as config:
        install_definitions(config, pathlib.Path(folder))
        for name in SETS:
            check(config, name)
        check_refusal(config)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
