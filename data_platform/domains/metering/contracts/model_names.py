"""Contract of the names that a company says its models go by, whoever uses them: calls, or the lines of an invoice.
Not here: names that price lists know (`model_pattern` of prices), how a name is looked up (transforms/matching)."""

from __future__ import annotations

import datetime as dt

from data_platform.core.contract.received import ReceivedLines, RejectedLines
from data_platform.core.contract.table import column
from data_platform.domains.metering.contracts.prices import VALID_DATE
from data_platform.domains.metering.contracts.usage import OWNER


class RawModelNames(ReceivedLines):
    """Names of models that only the company knows, as received: its deployments, a provider's new name, an article of
    an invoice. Of lines of one name that hold on a day the one valid from the latest moment counts, of these the
    newest."""

    key = "raw/model_names"
    partition = "valid_date"
    primary_key = ("valid_date", "source_file", "source_line", "received_at")
    owner = OWNER

    valid_date: dt.date = column(VALID_DATE)
    valid_from: dt.datetime = column("From when on the name is used (UTC); it counts for whole days.")
    provider: str = column("Who runs the model, as in the price list.", min_length=1)
    name: str = column("What calls or invoices call it, to the letter.", min_length=1)
    model: str | None = column("The model, as the price list names it; null: the name stands for itself again.")


class RawModelNamesRejected(RejectedLines):
    """Lines of files of model names that cannot be read."""

    key = "raw/model_names_rejected"
    owner = OWNER
