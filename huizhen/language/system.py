"""The operating system's own words for what went wrong, in Chinese: it says them in English to a Python program."""

from __future__ import annotations

import errno
import os
from typing import Final

__all__ = ["chinese_from_system_words"]

_BY_NUMBER: Final = {
    errno.ENOENT: "文件或目录不存在",
    errno.EACCES: "没有权限",
    errno.EPERM: "操作不被允许",
    errno.EISDIR: "这是一个目录",
    errno.ENOTDIR: "路径中有一段不是目录",
    errno.ENOSPC: "磁盘空间不足",
    errno.EROFS: "文件系统为只读",
    errno.EEXIST: "文件已存在",
    errno.EMFILE: "打开的文件过多",
    errno.ENAMETOOLONG: "文件名过长",
    errno.EIO: "输入输出错误",
    errno.ENODEV: "没有该设备",
    errno.ENXIO: "没有该设备或地址",
    errno.EBUSY: "设备正忙",
    errno.ENETDOWN: "网络接口未启用",
    errno.ENETUNREACH: "网络不可达",
    errno.EADDRINUSE: "地址已被占用",
    errno.EADDRNOTAVAIL: "地址不可用",
    errno.ECONNREFUSED: "连接被拒绝",
    errno.ECONNRESET: "连接被对方断开",
    errno.ETIMEDOUT: "连接超时",
    errno.EHOSTUNREACH: "主机不可达",
}
_BY_WORDS: Final = {os.strerror(number): words for number, words in _BY_NUMBER.items()}


def chinese_from_system_words(words: str) -> str:
    """The Chinese words for what ``os.strerror`` says; other texts as they are."""
    return _BY_WORDS.get(words, words)
