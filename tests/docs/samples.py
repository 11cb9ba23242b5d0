"""What does not hold is found: `python3 -m unittest discover -s tests/docs -p samples.py`."""

import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from runner import blocks, config
from runner.blocks import Wrong
from runner.shell import Shell, environment, pattern

SH = "```sh\n{}\n```\n"


class Samples(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.shell = Shell(self.path, environment(self.path / "none", self.path))

    def tearDown(self) -> None:
        self.shell.close()
        self.folder.cleanup()

    def read(self, text: str) -> list[blocks.Block]:
        page = self.path / "page.md"
        page.write_text(text)
        return blocks.read(page, Path("page.md"))

    def test_marks_are_read_and_unknown_ones_are_refused(self) -> None:
        (block,) = self.read("<!-- exit: 2 -->\n<!-- keeps running -->\n" + SH.format("false"))
        self.assertEqual(block.marks, {"exit": "2", "keeps running": ""})
        (block,) = self.read("<!-- exit: 2 -->\n\n" + SH.format("false"))
        self.assertEqual(block.marks, {})
        for mark in ("skip", "not run", "not run: "):
            with self.assertRaises(Wrong):
                self.read(f"<!-- {mark} -->\n" + SH.format("true"))
        with self.assertRaises(Wrong):
            self.read("```sh\ntrue\n")

    def test_command_that_fails_is_found(self) -> None:
        for text in ("false", "false | true", "echo $unset", "exit 3"):
            (block,) = self.read(SH.format(text))
            with self.assertRaises(Wrong, msg=text):
                self.shell.run(block)
        (block,) = self.read("<!-- exit: 3 -->\n" + SH.format("exit 3"))
        self.shell.run(block)

    def test_server_that_ends_is_found(self) -> None:
        (block,) = self.read(SH.format("echo serving; exit 0"))
        with self.assertRaises(Wrong):
            self.shell.keep(block)
        (block,) = self.read(SH.format("echo serving; sleep 30"))
        self.shell.keep(block)

    def test_other_output_is_found(self) -> None:
        command, same, other = self.read(SH.format("echo a 1 b; echo c; echo d") + "```text\na … b\n…\nd\n```\n```text\na\n```\n")
        self.shell.run(command)
        self.shell.compare(same)
        with self.assertRaises(Wrong):
            self.shell.compare(other)
        self.assertIsNone(pattern("a…\n").fullmatch("a\nb\n"))

    def test_part_of_a_configuration_is_laid_over_the_base(self) -> None:
        text = 'listen = "127.0.0.1:1"\n[upstreams.github]\ntrust_email = true\n[[resources]]\nauth = "optional"\n[proxy]\ntrusted = []\n'
        whole = tomllib.loads(config.complete(text, config.BASE))
        self.assertEqual(whole["upstreams"]["github"]["provider"], "github")
        self.assertTrue(whole["upstreams"]["github"]["trust_email"])
        self.assertEqual(whole["resources"], [{"path": "/mcp", "backend": "http://127.0.0.1:3000/mcp", "auth": "optional"}])
        self.assertEqual((whole["listen"], whole["proxy"]), ("127.0.0.1:1", {"trusted": []}))
        own = tomllib.loads(config.complete('[upstreams.id]\nprovider = "oidc"\n', config.BASE))
        self.assertEqual(list(own["upstreams"]), ["id"])

    def test_link_to_no_heading_is_found(self) -> None:
        self.read("# `[[a.b]]` and more\n[x](#ab-and-more) [y](page.md#none)\n")
        self.assertEqual(len(blocks.broken_anchors(self.path / "page.md", self.path)), 1)


if __name__ == "__main__":
    unittest.main()
