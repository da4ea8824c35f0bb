"""What was found wrong in a database file, and what was done about it.

Every kind of fault has a code, a sentence in both languages, and says whether it was mended (nothing of use is lost) or
stays (something in the file cannot be used). The table is the whole list; ``docs/databases.md`` explains it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from dbc.errors import Phrase

__all__ = ["KINDS", "Issue", "Kind", "found"]


class Kind(NamedTuple):
    """One kind of fault: its sentence with placeholders, and whether loading mends it."""

    en: str
    zh: str
    repaired: bool


KINDS: Final[dict[str, Kind]] = {
    "byte-order-mark": Kind("the file begins with a byte order mark", "文件开头有字节顺序标记", True),
    "line-ends": Kind("lines end in {which}", "行结束符为 {which}", True),
    "no-final-newline": Kind("the last line has no end", "最后一行没有换行", True),
    "mixed-encodings": Kind(
        "this line is not {encoding} like the others; read as {other}",
        "本行编码与其他行的 {encoding} 不同；按 {other} 读取",
        True,
    ),
    "control-character": Kind("control character {which} left out", "已去掉控制字符 {which}", True),
    "unclosed-string": Kind("a text has no closing quote; it ends with its line", "字符串缺少右引号；按行尾结束", True),
    "missing-semicolon": Kind("{what} has no semicolon at its end", "{what} 末尾缺少分号", True),
    "stray-semicolon": Kind("{what} takes no semicolon", "{what} 末尾不应有分号", True),
    "ns-block": Kind("the NS_ block is broken; it says nothing that is needed", "NS_ 段损坏；其中没有需要的内容", True),
    "bs-block": Kind("the BS_ line is broken; it says nothing that is needed", "BS_ 行损坏；其中没有需要的内容", True),
    "bu-block": Kind(
        "the list of nodes (BU_) is written wrongly; read as {nodes}", "节点列表 BU_ 写法有误；读作 {nodes}", True
    ),
    "duplicate-node": Kind("node {name} is listed twice", "节点 {name} 重复列出", True),
    "version": Kind("the VERSION line is broken", "VERSION 行损坏", True),
    "name": Kind(
        'the name "{name}" is no DBC name (letters, digits, _; no digit first, no keyword); kept as it is',
        "名称“{name}”不符合 DBC 规定（字母、数字、_，不以数字开头，非关键字）；按原样保留",
        True,
    ),
    "number": Kind('"{text}" is no DBC number; read as {value}', "“{text}”不是 DBC 数字；读作 {value}", True),
    "range": Kind('the range "{text}" is no pair of numbers; left open', "范围“{text}”不是一对数字；视为未给出", True),
    "no-unit": Kind("signal {name} has no unit field", "信号 {name} 缺少单位字段", True),
    "no-receiver": Kind("signal {name} names no receiver", "信号 {name} 没有接收节点", True),
    "no-sender": Kind("message {name} names no sender", "报文 {name} 没有发送节点", True),
    "extended-id": Kind(
        "identifier {id} of message {name} needs 29 bits but bit 31 is not set; taken as extended",
        "报文 {name} 的标识符 {id} 需要 29 位，但第 31 位未置位；按扩展帧处理",
        True,
    ),
    "impossible-id": Kind(
        "no CAN frame can have identifier {id} of message {name}; it is listed and decodes nothing",
        "报文 {name} 的标识符 {id} 不可能出现在 CAN 帧中；仅列出，不用于解码",
        False,
    ),
    "duplicate-message": Kind(
        "identifier {id} is {name} here and {winner} in {where}; both are kept, frames are read as {winner}",
        "标识符 {id} 在此为 {name}，在{where}为 {winner}；两者都保留，报文按 {winner} 解码",
        True,
    ),
    "duplicate-name": Kind(
        "another message is called {name} too; this one is {shown}", "另有报文也叫 {name}；本报文改称 {shown}", True
    ),
    "duplicate-signal": Kind(
        "message {message} has two signals {name}; this one is {shown}",
        "报文 {message} 有两个 {name}；本信号改称 {shown}",
        True,
    ),
    "moved-signal": Kind(
        "other lines stand between signal {name} and its message {message}",
        "信号 {name} 与所属报文 {message} 之间夹有其他行",
        True,
    ),
    "overlap": Kind(
        "signal {name} of {message} shares bits with {others}; all are decoded",
        "报文 {message} 的信号 {name} 与 {others} 的位重叠；均予解码",
        True,
    ),
    "signal-outside": Kind(
        "signal {name} of {message} ends in byte {needs}, the message has {length}; read only in longer frames",
        "报文 {message} 的信号 {name} 到第 {needs} 字节，而报文只有 {length} 字节；仅在更长的帧中读取",
        False,
    ),
    "signal-length": Kind(
        "signal {name} of {message} has {bits} bits, which no number holds; not read",
        "报文 {message} 的信号 {name} 有 {bits} 位，无法用数值表示；不读取",
        False,
    ),
    "no-selector": Kind(
        "it is not said which selector chooses signal {name} of {message}; not read",
        "未说明报文 {message} 的信号 {name} 由哪个复用选择信号决定；不读取",
        False,
    ),
    "selector-mark": Kind(
        'signal {name} is marked "m" without a number; taken as the selector "M"',
        "信号 {name} 的标记“m”没有编号；视为选择信号“M”",
        True,
    ),
    "container": Kind(
        "container {name} holds messages without a short header ({n} of those listed); they are not read",
        "容器报文 {name} 含无短报头的内层报文（已列出的有 {n} 条），不读取",
        False,
    ),
    "independent-signals": Kind(
        "{n} signals belong to no message and have no place in a frame; left out",
        "{n} 个信号不属于任何报文，没有位置；略去",
        True,
    ),
    "undefined-message": Kind(
        "{what} is about message {id}, which is not here; left out", "{what} 指向的报文 {id} 不存在；略去", True
    ),
    "undefined-signal": Kind(
        "{what} is about signal {name}, which message {id} does not have; left out",
        "{what} 指向的信号 {name} 不在报文 {id} 中；略去",
        True,
    ),
    "undefined-node": Kind(
        "{what} is about node {name}, which is not here; left out", "{what} 指向的节点 {name} 不存在；略去", True
    ),
    "undefined-attribute": Kind(
        "attribute {name} is given a value but never defined; left out", "属性 {name} 未定义就赋值；略去", True
    ),
    "attribute-value": Kind(
        'attribute {name} cannot be "{value}"; left out', "属性 {name} 的值不能是“{value}”；略去", True
    ),
    "comment-target": Kind(
        "the comment names no signal; taken for message {id}", "注释未写信号名；视为报文 {id} 的注释", True
    ),
    "value-entry": Kind(
        'the entry "{text}" of a value table is no whole number; left out', "值表条目“{text}”不是整数；略去", True
    ),
    "unreadable": Kind('left out, cannot be understood: "{text}"', "无法理解，已略去：“{text}”", False),
    "missing-import": Kind(
        "the file {name} that should be part of this one is not here; its messages are missing",
        "应并入本文件的 {name} 不存在；其中的报文缺失",
        False,
    ),
    "refused-import": Kind(
        "the file {name} is not taken in: only files in this folder are",
        "不并入文件 {name}：只接受本文件夹内的文件",
        False,
    ),
    "import-cycle": Kind("the file {name} takes in itself; read once", "文件 {name} 循环引用自身；只读一次", True),
    "import-limit": Kind(
        "more than {limit} files are taken in; {name} is not", "并入的文件超过 {limit} 个；不再并入 {name}", False
    ),
}
"""Code -> kind."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One fault of one file.

    Args:
        line: in the file as it is on disk, from 1.
        repaired: whether the database is as good as without the fault.
        file: where the line is, when it is in an imported file; else empty.
    """

    line: int
    code: str
    text: Phrase
    repaired: bool
    file: str = ""


def found(code: str, line: int, file: str = "", **fields: Any) -> Issue:
    """An issue of a kind, its sentence filled in. A field that is a phrase is said in its language."""
    kind = KINDS[code]
    en = kind.en.format(**{name: value.en if isinstance(value, Phrase) else value for name, value in fields.items()})
    zh = kind.zh.format(**{name: value.zh if isinstance(value, Phrase) else value for name, value in fields.items()})
    return Issue(line, code, Phrase(en, zh), kind.repaired, file)
