"""The data contract: what the joined rows must be like before anything is trained on them.

`check_names` before anything starts; per bucket `check_types`, `broken_rows`, `write_quarantine` and
`ContractState.of`; at the end `summarise`, `contract_table` and `check`.
"""

from mtl_ray.data.contract.config import ContractConfig
from mtl_ray.data.contract.names import check_names
from mtl_ray.data.contract.quarantine import write_quarantine
from mtl_ray.data.contract.result import CONTRACT_FILE, ContractResult, Finding, check
from mtl_ray.data.contract.row_rules import RowVerdict, broken_rows
from mtl_ray.data.contract.state import ContractState
from mtl_ray.data.contract.summary import summarise
from mtl_ray.data.contract.table import contract_table
from mtl_ray.data.contract.types import check_types

__all__ = [
    "CONTRACT_FILE",
    "ContractConfig",
    "ContractResult",
    "ContractState",
    "Finding",
    "RowVerdict",
    "broken_rows",
    "check",
    "check_names",
    "check_types",
    "contract_table",
    "summarise",
    "write_quarantine",
]
