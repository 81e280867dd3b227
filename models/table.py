"""What a table of the lake is: its columns, grain and key."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column: `type` is a DuckDB type, times are UTC without a zone."""

    name: str
    type: str
    description: str
    is_required: bool = False


@dataclass(frozen=True)
class Table:
    """One table of the lake, with its grain and its key."""

    schema: str
    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    group_rows: int | None = None
    """Rows of a row group of its Parquet files; None: as DuckDB has it, 122,880. Whoever looks for single rows decodes
    whole groups, and each group is read by one core."""

    @property
    def qualified_name(self) -> str:
        """Name with its schema, such as `raw.events`."""
        return f"{self.schema}.{self.name}"

    @property
    def column_names(self) -> list[str]:
        """Names of the columns in order."""
        return [column.name for column in self.columns]


def required(name: str, type_: str, description: str) -> Column:
    """A column that is never null."""
    return Column(name, type_, description, is_required=True)
