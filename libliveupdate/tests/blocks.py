#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""blocks DOCUMENT LANGUAGE SOURCE...: each block of a language in a document must stand in one of the sources, except for the
indentation and for empty lines."""

import re
import sys


def stripped(text):
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


document, language, *sources = sys.argv[1:]
with open(document, encoding="utf-8") as file:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
texts = []
for source in sources:
    with open(source, encoding="utf-8") as file:
        texts.append(stripped(file.read()))
wrong = [block for block in blocks if not any(stripped(block) in text for text in texts)]
if wrong or not blocks:
    sys.exit(f"{document}: {len(blocks)} blocks, and no source has\n" + "\n".join(wrong))
