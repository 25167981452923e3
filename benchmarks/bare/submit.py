"""The least that accepts a job: imports click, SQLAlchemy and Celery, adds a row, sends a message.

Arguments: the database's address, the broker's, and the prompt.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import click
from celery import Celery
from sqlalchemy import Column, DateTime, MetaData, String, Table, create_engine, insert

metadata = MetaData()
jobs = Table(
    "bare_jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("prompt", String, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)


@click.command()
@click.argument("database_url")
@click.argument("broker_url")
@click.argument("prompt")
@click.option("--make-table", is_flag=True, help="Make the table instead.")
def submit(database_url: str, broker_url: str, prompt: str, make_table: bool) -> None:
    """Accept PROMPT and print the id of its job."""
    engine = create_engine(database_url)
    if make_table:
        metadata.create_all(engine)
        return
    job_id = str(uuid.uuid4())
    with engine.begin() as connection:
        connection.execute(
            insert(jobs).values(id=job_id, prompt=prompt, created_at=datetime.now(UTC))
        )
    app = Celery("bare", broker=broker_url)
    app.conf.task_ignore_result = True
    app.send_task("bare.draw", args=[job_id], task_id=job_id, queue="bare")
    click.echo(job_id)


if __name__ == "__main__":
    submit()
