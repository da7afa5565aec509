"""The bench's prompts: the first 60 characters of the first 64 stories longer than 120 characters."""

import pathlib
import re


def story_prompts(text_file):
    text = pathlib.Path(text_file).read_text(encoding="utf-8")
    stories = [story.strip() for story in re.split(r"<\|endoftext\|>|\n\s*\n", text)]
    return [story[:60] for story in stories if len(story) > 120][:64]
