"""OpenFaaS' autoscaling: the commercial edition's modes, and the free edition's alert. Made from what both are
documented to do, and from what shows outside."""

from corral.policy.openfaas.scaler import OpenFaas
from corral.policy.openfaas.settings import OpenFaasSettings

__all__ = ["OpenFaas", "OpenFaasSettings"]
