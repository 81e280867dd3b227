"""The table of settings for the reference, made from the descriptions of `Settings`."""

from pydantic import SecretStr

from orchestration.settings import DEMO_PSEUDONYM_KEY, Settings


def settings_markdown() -> str:
    """One row per setting: variable, default and meaning, as a Markdown table."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(default, SecretStr):
            value = default.get_secret_value()
            shown = "a public demo key" if value == DEMO_PSEUDONYM_KEY else f"`{value}`" if value else ""
        else:
            shown = "" if default is None or default == "" else f"`{default}`"
        lines.append(f"| `FRESHET_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines)
