"""What an error of the database may say."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError


def test_no_error_of_the_database_repeats_a_prompt(desk: Any) -> None:
    draft = desk.draft(
        request=desk.request(prompt="my secret wish", styled_prompt="my secret wish"), backend=None
    )

    from imagen.ledger.jobs.submit import submit_job

    with pytest.raises(DBAPIError) as caught:
        submit_job(desk.ledger, draft)

    assert "secret wish" not in str(caught.value)
