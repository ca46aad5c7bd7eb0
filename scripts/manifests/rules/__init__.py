"""The rules that no schema knows, because they are about several objects or about Headgate."""

from . import monitoring, network, scaling, settings, workloads

__all__ = ["monitoring", "network", "scaling", "settings", "workloads"]
