"""Asking a container once whether what runs in it works. Shell."""

from __future__ import annotations

from hybrid.errors import ContainerError
from hybrid.model import SiteId, SiteSpec
from hybrid.ports import Containers


async def ask(containers: Containers, name: SiteId, spec: SiteSpec, timeout_s: float) -> None:
    """
    Ask the container `name`, in which the site of `spec` runs, as that says (`hybrid.manifest.Health`).

    Raises:
        ContainerError: It does not work, and how that shows.
    """
    health = spec.health
    if health.command:
        done = await containers.execute(name, health.command, timeout_s=timeout_s)
        if done.status:
            said = (done.stderr or done.stdout)[-100:].decode("utf-8", "replace").strip()
            raise ContainerError(f"{health.command[0]} ended with status {done.status}", said)
    elif spec.ports and spec.ports[0].protocol == "http":
        status = await containers.answer(name, spec.ports[0].port, health.path, spec.domains[0])
        if status >= 500:
            raise ContainerError(f"GET {health.path} was answered with status {status}")
    elif spec.ports:
        await containers.answer(name, spec.ports[0].port, None)
    elif name not in await containers.running():
        raise ContainerError("its container ended")
