"""Counts the words of a text: the ten most frequent to standard output, all of them to /out/words.txt."""

import re
import sys
from collections import Counter

words = Counter(re.findall(r"[a-z]+", sys.stdin.read().lower()))
ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))
with open("/out/words.txt", "w") as file:
    file.writelines(f"{count:7} {word}\n" for word, count in ranked)

print(f"{sys.argv[-1]}: {sum(words.values())} words, {len(words)} different")
for word, count in ranked[:10]:
    print(f"{count:7} {word}")
