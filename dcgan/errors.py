"""Everything that can go wrong between client and service: one exception with a stable code."""

import httpx

LOCAL = {"localhost", "127.0.0.1", "::1"}


class DcganError(Exception):
    """The service refused or did not answer. `detail` says what to do; without an answer `status` is None."""

    def __init__(self, code: str, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status


def refusal(response: httpx.Response) -> DcganError:
    """Parse a problem+json answer (RFC 9457), or whatever a proxy in between has answered."""
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
        return DcganError("http", f"{_shown(response.url)} answered {said}.", response.status_code)
    return DcganError(code, "\n".join([detail, *fields]), response.status_code)


def unreachable(url: httpx.URL | str, error: httpx.TransportError) -> DcganError:
    """The request got no answer, or none in time."""
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return DcganError("unreachable", _late(url, error))
    if isinstance(error, httpx.LocalProtocolError):
        return DcganError("not_sendable", f"The request cannot be sent: {error}.")
    reason = str(error) or type(error).__name__
    remedy = "Start one with `dcgan up`." if httpx.URL(url).host in LOCAL else "Is the address right?"
    return DcganError("unreachable", f"No service answers at {_shown(url)} ({reason}). {remedy}")


def not_the_service(url: httpx.URL) -> DcganError:
    """Something else answers at the address."""
    detail = f"{_shown(url)} answered, but not as this service does; is the address right?"
    return DcganError("not_the_service", detail)


def unsendable(error: UnicodeEncodeError) -> DcganError:
    """An argument contains characters that its place in the request cannot encode."""
    given = error.object if len(error.object) <= 80 else error.object[error.start : error.end]
    return DcganError("not_sendable", f"{given!r} cannot be sent: it is not {error.encoding.upper()}.")


def unusable_environment(error: Exception) -> DcganError:
    """Variables of the environment name a proxy or certificates with which no connection can be made."""
    detail = (
        f"No connection can be made with the proxy or the certificates that the environment names ({error}); "
        f"correct or unset ALL_PROXY, HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE or SSL_CERT_DIR."
    )
    return DcganError("unusable_environment", detail)


def may_pass(error: BaseException | None) -> bool:
    """Whether a retry may soon succeed: the service is away, shutting down or starting."""
    if isinstance(error, DcganError):
        return (error.status or 0) >= 500 or may_pass(error.__cause__)
    never = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
    return isinstance(error, httpx.TransportError) and not isinstance(error, never)


def _late(url: httpx.URL | str, error: httpx.TimeoutException) -> str:
    kind = {httpx.WriteTimeout: "write", httpx.PoolTimeout: "pool"}.get(type(error), "read")
    seconds = error.request.extensions["timeout"][kind]
    return f"The service at {_shown(url)} did not answer within {seconds:g} s; it may still be at work."


def _shown(url: httpx.URL | str) -> str:
    """The URL without user and password."""
    return str(httpx.URL(url).copy_with(userinfo=b""))
