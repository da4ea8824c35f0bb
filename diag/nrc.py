"""Negative response codes: what an ECU means when it says no.

Standard: ISO 14229-1:2020 Annex A.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from diag.facts import Text

__all__ = ["BUSY", "NEGATIVE_SID", "NRCS", "PENDING", "Negative", "nrc_name", "nrc_text", "parse_negative"]

NEGATIVE_SID: Final = 0x7F
BUSY: Final = 0x21
PENDING: Final = 0x78

NRCS: Final[dict[int, tuple[str, Text]]] = {
    0x10: ("generalReject", Text("rejected without a reason", "一般性拒绝")),
    0x11: ("serviceNotSupported", Text("service not supported", "不支持该服务")),
    0x12: ("subFunctionNotSupported", Text("sub-function not supported", "不支持该子功能")),
    0x13: ("incorrectMessageLengthOrInvalidFormat", Text("wrong length or format", "报文长度或格式错误")),
    0x14: ("responseTooLong", Text("the answer would be too long", "应答过长")),
    0x21: ("busyRepeatRequest", Text("busy, ask again", "忙，请重复请求")),
    0x22: ("conditionsNotCorrect", Text("conditions not correct", "条件不满足")),
    0x24: ("requestSequenceError", Text("wrong order of requests", "请求顺序错误")),
    0x25: ("noResponseFromSubnetComponent", Text("a part behind this ECU is silent", "子网部件无应答")),
    0x26: ("failurePreventsExecutionOfRequestedAction", Text("a fault prevents it", "存在故障，无法执行")),
    0x31: ("requestOutOfRange", Text("identifier or value not known", "请求超出范围")),
    0x33: ("securityAccessDenied", Text("locked by security access", "安全访问未通过")),
    0x34: ("authenticationRequired", Text("authentication required", "需要身份认证")),
    0x35: ("invalidKey", Text("wrong key", "密钥错误")),
    0x36: ("exceedNumberOfAttempts", Text("too many attempts", "尝试次数过多")),
    0x37: ("requiredTimeDelayNotExpired", Text("waiting time not over yet", "等待时间未到")),
    0x38: ("secureDataTransmissionRequired", Text("secure transmission required", "需要安全传输")),
    0x39: ("secureDataTransmissionNotAllowed", Text("secure transmission not allowed", "不允许安全传输")),
    0x3A: ("secureDataVerificationFailed", Text("secure data failed verification", "安全数据校验失败")),
    0x50: ("certificateVerificationFailedInvalidTimePeriod", Text("certificate not valid now", "证书不在有效期内")),
    0x51: ("certificateVerificationFailedInvalidSignature", Text("certificate signature invalid", "证书签名无效")),
    0x52: ("certificateVerificationFailedInvalidChainOfTrust", Text("chain of trust invalid", "证书信任链无效")),
    0x53: ("certificateVerificationFailedInvalidType", Text("certificate of the wrong type", "证书类型无效")),
    0x54: ("certificateVerificationFailedInvalidFormat", Text("certificate format invalid", "证书格式无效")),
    0x55: ("certificateVerificationFailedInvalidContent", Text("certificate content invalid", "证书内容无效")),
    0x56: ("certificateVerificationFailedInvalidScope", Text("certificate scope invalid", "证书范围无效")),
    0x57: ("certificateVerificationFailedInvalidCertificate", Text("certificate revoked", "证书无效或已吊销")),
    0x58: ("ownershipVerificationFailed", Text("proof of ownership failed", "所有权验证失败")),
    0x59: ("challengeCalculationFailed", Text("challenge could not be computed", "挑战值计算失败")),
    0x5A: ("settingAccessRightsFailed", Text("access rights could not be set", "访问权限设置失败")),
    0x5B: ("sessionKeyCreationOrDerivationFailed", Text("no session key", "会话密钥生成失败")),
    0x5C: ("configurationDataUsageFailed", Text("configuration data unusable", "配置数据使用失败")),
    0x5D: ("deAuthenticationFailed", Text("de-authentication failed", "取消认证失败")),
    0x70: ("uploadDownloadNotAccepted", Text("upload or download not accepted", "不接受上传/下载")),
    0x71: ("transferDataSuspended", Text("transfer suspended", "数据传输中止")),
    0x72: ("generalProgrammingFailure", Text("programming failed", "编程失败")),
    0x73: ("wrongBlockSequenceCounter", Text("wrong block counter", "数据块序号错误")),
    0x78: (
        "requestCorrectlyReceivedResponsePending",
        Text("received, the answer takes longer", "已收到请求，应答待定"),
    ),
    0x7E: (
        "subFunctionNotSupportedInActiveSession",
        Text("sub-function not in this session", "当前会话不支持该子功能"),
    ),
    0x7F: ("serviceNotSupportedInActiveSession", Text("service not in this session", "当前会话不支持该服务")),
    0x81: ("rpmTooHigh", Text("engine speed too high", "转速过高")),
    0x82: ("rpmTooLow", Text("engine speed too low", "转速过低")),
    0x83: ("engineIsRunning", Text("engine is running", "发动机正在运转")),
    0x84: ("engineIsNotRunning", Text("engine is not running", "发动机未运转")),
    0x85: ("engineRunTimeTooLow", Text("engine run time too short", "发动机运转时间过短")),
    0x86: ("temperatureTooHigh", Text("temperature too high", "温度过高")),
    0x87: ("temperatureTooLow", Text("temperature too low", "温度过低")),
    0x88: ("vehicleSpeedTooHigh", Text("vehicle speed too high", "车速过高")),
    0x89: ("vehicleSpeedTooLow", Text("vehicle speed too low", "车速过低")),
    0x8A: ("throttlePedalTooHigh", Text("accelerator pedal too high", "加速踏板开度过大")),
    0x8B: ("throttlePedalTooLow", Text("accelerator pedal too low", "加速踏板开度过小")),
    0x8C: ("transmissionRangeNotInNeutral", Text("not in neutral", "未挂空挡")),
    0x8D: ("transmissionRangeNotInGear", Text("not in gear", "未挂入挡位")),
    0x8F: ("brakeSwitchNotClosed", Text("brake not pressed", "未踩制动踏板")),
    0x90: ("shifterLeverNotInPark", Text("not in park", "未挂 P 挡")),
    0x91: ("torqueConverterClutchLocked", Text("converter clutch locked", "液力变矩器离合器锁止")),
    0x92: ("voltageTooHigh", Text("voltage too high", "电压过高")),
    0x93: ("voltageTooLow", Text("voltage too low", "电压过低")),
    0x94: ("resourceTemporarilyNotAvailable", Text("temporarily not available", "资源暂时不可用")),
}


def nrc_name(nrc: int) -> str:
    """The standard's name, or what group an unlisted number belongs to."""
    if nrc in NRCS:
        return NRCS[nrc][0]
    return "vehicleManufacturerSpecificConditionsNotCorrect" if 0xF0 <= nrc <= 0xFE else "ISOSAEReserved"


def nrc_text(nrc: int) -> Text:
    """What the code means, in both languages."""
    if nrc in NRCS:
        return NRCS[nrc][1]
    if 0xF0 <= nrc <= 0xFE:
        return Text("maker-specific condition not met", "不满足厂家自定义条件")
    return Text("reserved code", "保留代码")


@dataclass(frozen=True, slots=True)
class Negative:
    """A negative response. ``service`` is the request's service id. Standard: ISO 14229-1:2020 §8.7."""

    service: int
    nrc: int

    @property
    def name(self) -> str:
        """The standard's name of the code."""
        return nrc_name(self.nrc)

    @property
    def text(self) -> Text:
        """What the code means, in both languages."""
        return nrc_text(self.nrc)


def parse_negative(payload: bytes) -> Negative | None:
    """Reads ``7F service nrc``; None for anything else, a cut ``7F`` included."""
    if len(payload) < 3 or payload[0] != NEGATIVE_SID:
        return None
    return Negative(payload[1], payload[2])
