"""What goes wrong between a client and the service, as one exception with a stable code."""

import httpx


class DcganError(Exception):
    """The service refused, or was not there. `detail` says what to do; `status` is None without an answer."""

    def __init__(self, code: str, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status


def refusal(response: httpx.Response) -> DcganError:
    """Read a problem+json answer (RFC 9457); whatever else stands between may answer in its own words."""
    try:
        problem = response.json()
        code, detail = str(problem["code"]), str(problem["detail"])
        fields = [
            f"{error['pointer']}: {error['detail']}"
            for error in problem.get("errors", ())
            if error["detail"] not in detail
        ]
    except (ValueError, KeyError, TypeError):
        said = f"{response.status_code} {response.reason_phrase}".rstrip()
        return DcganError("http", f"{response.url} answered {said}.", response.status_code)
    return DcganError(code, "\n".join([detail, *fields]), response.status_code)


def unreachable(url: httpx.URL | str, error: httpx.TransportError) -> DcganError:
    """Nobody answers at the address, or not in time."""
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return DcganError("unreachable", _late(url, error))
    if isinstance(error, httpx.LocalProtocolError):
        return DcganError("not_sendable", f"The request cannot be sent: {error}.")
    reason = str(error) or type(error).__name__
    return DcganError("unreachable", f"No service answers at {url} ({reason}). Start one with `dcgan up`.")


def not_the_service(url: httpx.URL) -> DcganError:
    """Somebody answers, but another."""
    detail = f"{url} answered, but not as this service does; is the address right?"
    return DcganError("not_the_service", detail)


def unsendable(error: UnicodeEncodeError) -> DcganError:
    """What was given holds characters that its place in a request does not."""
    given = error.object if len(error.object) <= 80 else error.object[error.start : error.end]
    return DcganError("not_sendable", f"{given!r} cannot be sent: it is not {error.encoding.upper()}.")


def may_pass(error: BaseException | None) -> bool:
    """Whether the same may be answered in a moment: the service is away, on its way down or on its way up."""
    if isinstance(error, DcganError):
        return (error.status or 0) >= 500 or may_pass(error.__cause__)
    never = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
    return isinstance(error, httpx.TransportError) and not isinstance(error, never)


def _late(url: httpx.URL | str, error: httpx.TimeoutException) -> str:
    kind = {httpx.WriteTimeout: "write", httpx.PoolTimeout: "pool"}.get(type(error), "read")
    seconds = error.request.extensions["timeout"][kind]
    return f"The service at {url} did not answer within {seconds:g} s; it may still be at work."
