"""Text in Python: dictionaries, sorting, formatting, floats, big integers, regular expressions."""

import collections
import math
import re
import sys

text = sys.stdin.read()
words = collections.Counter(re.findall(r"[a-z]+", text.lower()))
for word, count in words.most_common(5):
    print(f"{word} {count} {math.sqrt(count):.17g} {hash(count)}")
print(sum(math.sin(n) for n in range(200)).hex(), pow(3, 2000, 10**40), {*"abc"} == {*"cba"})
