"""A pytest plugin: the short summary names the reason of a failure in up to 300 characters, also in a log that is 80 wide."""


def pytest_terminal_summary(config):
    writer = config.get_terminal_writer()
    writer.fullwidth = max(writer.fullwidth, 300)
