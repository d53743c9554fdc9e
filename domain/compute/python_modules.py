"""The standard library that scripts have: what CPython 3.12 for WASI (`scripts.runtime`) can import.

Less than a machine's own Python has: no TLS, no processes, no terminal, no foreign libraries. A test asks the
interpreter itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Final

_NAMES: Final = """
__future__ _abc _ast _asyncio _bisect _blake2 _bz2 _codecs _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp
_codecs_kr _codecs_tw _collections _collections_abc _compat_pickle _compression _contextvars _crypt _csv
_datetime _decimal _elementtree _frozen_importlib _frozen_importlib_external _functools _heapq _imp _io
_json _locale _lsprof _markupbase _md5 _multibytecodec _opcode _operator _pickle _py_abc _pydatetime _pylong
_queue _random _sha1 _sha2 _sha3 _signal _sitebuiltins _socket _sqlite3 _sre _stat _statistics _string
_strptime _struct _symtable _thread _threading_local _tokenize _tracemalloc _typing _warnings _weakref
_weakrefset _zoneinfo abc aifc argparse array ast asyncio atexit audioop base64 bdb binascii bisect builtins
bz2 cProfile calendar cgi cgitb chunk cmath cmd code codecs codeop collections colorsys compileall
concurrent configparser contextlib contextvars copy copyreg crypt csv dataclasses datetime dbm decimal
difflib dis doctest email encodings enum errno faulthandler filecmp fileinput fnmatch fractions ftplib
functools gc genericpath getopt getpass gettext glob graphlib gzip hashlib heapq hmac html http imaplib
imghdr importlib inspect io ipaddress itertools json keyword linecache locale logging mailbox mailcap
marshal math mimetypes modulefinder netrc nntplib ntpath nturl2path numbers opcode operator optparse os
pathlib pdb pickle pickletools pipes pkgutil platform plistlib poplib posix posixpath pprint profile pstats
py_compile pyclbr pydoc pyexpat queue quopri random re reprlib runpy sched secrets select selectors shelve
shlex shutil signal site smtplib sndhdr socket socketserver sqlite3 sre_compile sre_constants sre_parse stat
statistics string stringprep struct subprocess sunau symtable sys sysconfig tabnanny tarfile telnetlib
tempfile textwrap this threading time timeit token tokenize tomllib trace traceback tracemalloc types typing
unicodedata unittest urllib uuid warnings wave weakref wsgiref xml xmlrpc zipapp zipfile zipimport zlib
zoneinfo
"""

MODULES: Final = frozenset(_NAMES.split())


def has(module: str) -> bool:
    """Whether a script can import it; `module` may be one of a package."""
    return module.partition(".")[0] in MODULES


def absent(statements: Iterable[ast.stmt]) -> Iterator[tuple[int, str]]:
    """Modules that these import and no script has, with their lines. Below `try` or `if` nothing is looked
    at: what stands there may well be expected to be missing."""
    for statement in statements:
        wanted = []
        if isinstance(statement, ast.Import):
            wanted = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            wanted = ["." if statement.level else statement.module or ""]
        yield from ((statement.lineno, module) for module in wanted if not has(module))
