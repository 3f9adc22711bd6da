"""The pods' bridge on this machine."""

from pathlib import Path

from qwen3_local import node
from qwen3_local.programs import run


def ensure_bridge() -> None:
    """The pods' bridge with the node's own address on it, and the kernel switches it needs."""
    if not has_bridge():
        run(["ip", "link", "add", node.BRIDGE, "type", "bridge"])
        run(["ip", "address", "add", f"{node.BRIDGE_ADDRESS}/24", "dev", node.BRIDGE])
        run(["ip", "link", "set", node.BRIDGE, "up"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not switch.exists():
        run(["modprobe", "br_netfilter"])
    # Without it a pod's packets to a Service whose endpoint is on the same bridge skip NAT.
    switch.write_text("1")


def has_bridge() -> bool:
    """Asked of `ip`: /sys shows the network namespace of whoever mounted it."""
    return f" {node.BRIDGE}:" in run(["ip", "-oneline", "link"])
