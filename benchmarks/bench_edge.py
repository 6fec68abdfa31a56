"""Requests through the generated configuration, and changes of it, against nginx by hand."""

import statistics
import time
from contextlib import ExitStack

from lib.authority import by_certbot, edge_with_authority
from lib.edge import BY_HAND, TARGET, Edge, edge, rate, wrk
from lib.report import Row
from lib.stage import Stage, request
from lib.timing import ran, seconds

# A response that the target's nginx makes itself; what is compared is the way to it.
HOST = "bench.example.com"


def throughput(stage: Stage) -> list[Row]:
    """The same target through our nginx and through one with a few lines written by hand, in turns."""
    length, rounds = (1, 2) if stage.quick else (5, 5)
    with edge(stage) as made:
        name = f"{stage.prefix}-rate"
        made.beside("target", TARGET, "--network-alias", f"{name}-web")
        hand = made.beside(
            "hand",
            BY_HAND.format(port=80, host=HOST, target=f"{name}-web:8080"),
            *("-p", "127.0.0.1::80"),
            # As ours has it: else the kernel runs out of ports, and that alone would be compared.
            *("--sysctl", "net.ipv4.ip_local_port_range=1024 65535", "--sysctl", "net.ipv4.tcp_tw_reuse=1"),
        )
        hand_port = int(ran("docker", "port", hand, "80").splitlines()[0].rpartition(":")[2])
        made.site(name, HOST, port=8080)
        stage.serve()
        made.wait_for(HOST, 200)
        program = wrk()
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(rate(program, made.http, HOST, length))
            theirs.append(rate(program, hand_port, HOST, length))
        panel, by_hand = statistics.median(ours), statistics.median(theirs)
        against = f"{panel:.0f}/s; hand-written: {by_hand:.0f}/s"
        return [Row("proxied requests, of by hand", panel / by_hand, "x", 0.95, "high", against)]


def change(stage: Stage) -> list[Row]:
    """One change among many virtual hosts."""
    with edge(stage) as made:
        return _one_of_many(made)


def additions(stage: Stage) -> list[Row]:
    """Many domains added one after another."""
    with edge(stage) as made:
        return _one_after_another(made)


def _one_of_many(made: Edge) -> list[Row]:
    many, repeat = (30, 3) if made.stage.quick else (500, 15)
    names = [f"{made.stage.prefix}-{number:03}" for number in range(many)]
    for name in names:
        made.site(name, f"{name}.example.com")
    made.stage.serve()
    made.wait_for(f"{names[-1]}.example.com", 502, limit=300)
    connection = made.stage.connection()
    path = f"/api/deployments/{names[many // 2]}/domains/main"

    def by_panel(port: int) -> None:
        status, body = request(connection, made.stage.key, "PUT", path, {"container_port": port})
        if status != 200 or not body["proxy_result"]["nginx_reloaded"]:
            raise RuntimeError(f"{status}: {body}")

    own = made.stage.root / "nginx/conf.d/by-hand.conf"

    def by_hand(number: int) -> None:
        """A file of one's own changed, tested, reloaded and served."""
        own.write_text(f"server {{ listen 80; server_name hand.example.com; return {600 + number} ''; }}\n")
        ran("docker", "exec", made.container, "nginx", "-t")
        ran("docker", "exec", made.container, "nginx", "-s", "reload")
        made.wait_for("hand.example.com", 600 + number, pause=0.005)

    by_panel(81)
    panel, hand = [], []
    for number in range(repeat):
        panel.append(seconds(lambda: by_panel(1000 + number)))  # noqa: B023 - called at once
        hand.append(seconds(lambda: by_hand(number)))  # noqa: B023 - called at once
        # Old workers end meanwhile, which is the same for both.
        time.sleep(0.5)
    ours, theirs = statistics.median(panel) * 1000, statistics.median(hand) * 1000
    against = f"{ours:.0f} ms; nginx -t and reload by hand, until served: {theirs:.0f} ms"
    return [Row(f"change of one of {many} sites, beyond it", ours - theirs, "ms", 300, "low", against)]


def _one_after_another(made: Edge) -> list[Row]:
    names = [f"{made.stage.prefix}-{number}" for number in range(10)]
    for name in names:
        made.site(name, f"{name}.example.com")
    made.stage.serve()
    made.wait_for(f"{names[-1]}.example.com", 502)
    return [*_added(made, names, "over ten sites"), *_added(made, names[:1], "in one site")]


def _added(made: Edge, names: list[str], where: str) -> list[Row]:
    """Domains added in turns to these deployments."""
    count, window = (20, 5) if made.stage.quick else (200, 20)
    hosts = [f"d{number:03}.{len(names)}.example.com" for number in range(count)]
    taken = []
    connection = made.stage.connection()
    for number, host in enumerate(hosts):
        path = f"/api/deployments/{names[number % len(names)]}/domains"
        begun = time.perf_counter()
        status, body = request(connection, made.stage.key, "POST", path, {"domain": host, "service": "web"})
        taken.append(time.perf_counter() - begun)
        if status != 201:
            raise RuntimeError(f"{host}: {status} {body}")
    listed = {
        entry["domain"]
        for name in names
        for entry in request(connection, made.stage.key, "GET", f"/api/deployments/{name}/domains")[1][
            "domains"
        ]
    }
    # A host that nginx knows has no container behind it here, which is 502.
    made.wait_for(hosts[-1], 502)
    lost = len(set(hosts) - listed) + sum(not made.answers(host, 502) for host in hosts)
    first, last = statistics.median(taken[:window]), statistics.median(taken[-window:])
    against = f"first {window}: {first * 1000:.0f} ms, last {window}: {last * 1000:.0f} ms"
    return [
        Row(f"{count} domains {where}, last of first", last / first, "x", 1.5, "low", against),
        Row(f"{count} domains {where}, lost", lost, "", 0, "low"),
    ]


def issuance(stage: Stage) -> list[Row]:
    """A certificate over HTTP-01 by the panel, checks and handshake included, and by certbot, in turns."""
    repeat = 2 if stage.quick else 7
    with ExitStack() as stack:
        made, authority = stack.enter_context(edge_with_authority(stage))
        made.site(f"{stage.prefix}-first", "first.example.com")
        stage.serve()
        made.wait_for("first.example.com", 502)
        connection = stage.connection()

        def by_panel(host: str) -> None:
            status, body = request(connection, stage.key, "POST", "/api/certificates", {"domain": host})
            if status != 201:
                raise RuntimeError(f"{status}: {body}")

        hand = by_certbot(made, authority)
        # The first one makes the account.
        by_panel("account.example.com")
        hand("account.example.net")
        panel_taken, hand_taken = [], []
        for number in range(repeat):
            panel_taken.append(seconds(lambda: by_panel(f"p{number}.example.com")))  # noqa: B023 - called at once
            hand_taken.append(seconds(lambda: hand(f"h{number}.example.net")))  # noqa: B023 - called at once
    ours, theirs = statistics.median(panel_taken), statistics.median(hand_taken)
    against = f"{ours:.2f} s; certbot certonly --webroot: {theirs:.2f} s"
    return [Row("issuance, of certbot by hand", ours / theirs, "x", 1.3, "low", against)]
