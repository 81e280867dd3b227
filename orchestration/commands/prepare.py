"""`freshet prepare`: what a deployment needs before its services start."""

from orchestration.commands.console import HomeOption, err, settings_of


def prepare(home: HomeOption = None) -> None:
    """Create the home folder, the lake and Dagster's configuration, for services that start without `freshet`."""
    settings = settings_of(home)
    console = err()
    with console.status("preparing the home folder"):
        from orchestration.home import prepare_home

        prepare_home(settings)
    console.print(f"{settings.root} is ready", soft_wrap=True)
