"""A file system that opens object stores with the credentials of the process it is in.

Zarr stores, files and data sets are pickled with their file system, and fsspec's have their
credentials among their arguments. This one has none: it makes the real file system where, and
when, something is read or written, from the storage options of that process.

    client              scheduler           worker of the pool
    PooledFileSystem -> pickle           -> PooledFileSystem -> S3FileSystem(key, secret)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsspec import get_filesystem_class, register_implementation
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.spec import AbstractBufferedFile

from dask_pools.data.storage.errors import without_secrets
from dask_pools.data.storage.here import own_options, pools_here
from dask_pools.errors import CredentialsError, one_of
from dask_pools.model.credentials import secret_options, secret_texts
from dask_pools.topology.storage import StorageOptions

#: The name of the file system in fsspec.
PROTOCOL = "pooled"


class PooledFileSystem(AsyncFileSystem):  # type: ignore[misc]
    """A file system of which only the workers of a pool have the credentials.

    Parameters
    ----------
    target_protocol : str
        The protocol of the real file system, such as ``"s3"``.
    target_options : mapping, optional
        Arguments of the real file system that the user gave. No secrets.
    origin : mapping, optional
        Where it was opened: the ``pools``, and the address of the store. It tells stores of
        one URL apart, and whose credentials are missing elsewhere.
    **kwargs
        As for `fsspec.asyn.AsyncFileSystem`.

    Raises
    ------
    CredentialsError
        On use, in a process that has no storage options for the URL.
    """

    protocol = PROTOCOL

    def __init__(
        self,
        target_protocol: str,
        target_options: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_protocol = target_protocol
        #: That of the URLs: whoever asks wants to know where the data is.
        self.protocol = target_protocol
        self._target_options = dict(target_options or {})
        self._origin = dict(origin or {})
        #: By prefix, the real file systems, and the storage options from which they were made.
        self._made: dict[str, tuple[StorageOptions, AsyncFileSystem]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target_protocol!r}, origin={self._origin!r})"

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        # That of fsspec depends on the process and the thread.
        return (type(self).__name__, self.target_protocol, self._target_options, self._origin)

    # ---- paths: those of the real file system

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        path = str(path).removeprefix(f"{PROTOCOL}://")
        protocol, separator, _ = path.partition("://")
        if separator and protocol != PROTOCOL:
            return get_filesystem_class(protocol)._strip_protocol(path)  # noqa: SLF001 - fsspec's API
        return path.rstrip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        protocol, separator, _ = path.removeprefix(f"{PROTOCOL}://").partition("://")
        return {"target_protocol": protocol} if separator else {}

    def unstrip_protocol(self, name: str) -> str:
        """Return the URL of a path, with the protocol of the real file system."""
        return name if "://" in name else f"{self.target_protocol}://{name}"

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget listings, of a directory or all."""
        for _, real in self._made.values():
            real.invalidate_cache(path)
        super().invalidate_cache(path)

    # ---- the real file system

    def _real(self, path: str) -> tuple[AsyncFileSystem, list[str]]:
        """Return the real file system of a path, and the secrets that it knows."""
        url = self.unstrip_protocol(path)
        self._require_home(url)
        own = own_options()
        found = own.of(url)
        if found is None:
            raise self._missing(url)
        prefix, options = found
        secrets = [text for _, value in secret_options(options) for text in secret_texts(value)]
        made = self._made.get(prefix)
        if made is None or made[0] is not own:
            made = own, self._make({**options, **self._target_options}, secrets)
            self._made[prefix] = made
        return made[1], secrets

    def _make(self, options: dict[str, Any], secrets: list[str]) -> AsyncFileSystem:
        kind = get_filesystem_class(self.target_protocol)
        how: dict[str, Any] = {"asynchronous": self.asynchronous}
        failure: BaseException
        try:
            # fsspec keeps what it makes, by its arguments, for ever: not with these.
            if kind.async_impl:
                return kind(**options, **how, skip_instance_cache=True)
            return AsyncFileSystemWrapper(kind(**options, skip_instance_cache=True), **how)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not show its arguments
            failure = without_secrets(error, secrets)
        raise failure

    def _require_home(self, url: str) -> None:
        """Refuse to open here what was opened in other pools: a URL may be there and here."""
        home, pools = self._origin.get("pools") or (), pools_here()
        if home and not set(home).intersection(pools):
            raise CredentialsError(
                f"{url} was opened in pool {one_of(home)}, where the credentials for it live, and "
                f"is now to be used {_told(pools)}. Compute it inside of propagate_pools(), and "
                "open it with dask_pools.open_dataset and its kin, which pin it to its pool"
            )

    def _missing(self, url: str) -> CredentialsError:
        return CredentialsError(
            f"{url} is to be used {_told(pools_here())}, where no credentials for it are: "
            f"dask_pools.storage-options there have the prefixes {one_of(own_options().prefixes)}. "
            "Open it in a pool whose workers have them, or give them to this one"
        )

    async def _call(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        real, secrets = self._real(path)
        failure: BaseException
        try:
            return await getattr(real, method)(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not show a secret
            failure = without_secrets(error, secrets)
        # Not in the handler, where the other one would be behind it.
        raise failure

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if mode == "rb":
            # It reads with our `cat_file`, and is pickled with us.
            known = ("block_size", "cache_type", "cache_options", "size")
            kwargs = {name: kwargs[name] for name in known if kwargs.get(name) is not None}
            return AbstractBufferedFile(self, path, mode, **kwargs)
        # What is being written cannot be pickled.
        real, _ = self._real(path)
        return getattr(real, "sync_fs", real).open(path, mode, **kwargs)

    # ---- what file systems do

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> Any:
        return await self._call("_cat_file", path, path, start=start, end=end, **kwargs)

    async def _info(self, path: str, **kwargs: Any) -> Any:
        return await self._call("_info", path, path, **kwargs)

    async def _ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        return await self._call("_ls", path, path, detail=detail, **kwargs)

    async def _find(self, path: str, *args: Any, **kwargs: Any) -> Any:
        return await self._call("_find", path, path, *args, **kwargs)

    async def _pipe_file(self, path: str, value: bytes, **kwargs: Any) -> Any:
        return await self._call("_pipe_file", path, path, value, **kwargs)

    async def _put_file(self, lpath: str, rpath: str, **kwargs: Any) -> Any:
        return await self._call("_put_file", rpath, lpath, rpath, **kwargs)

    async def _get_file(self, rpath: str, lpath: str, **kwargs: Any) -> Any:
        return await self._call("_get_file", rpath, rpath, lpath, **kwargs)

    async def _cp_file(self, path1: str, path2: str, **kwargs: Any) -> Any:
        return await self._call("_cp_file", path1, path1, path2, **kwargs)

    async def _rm_file(self, path: str, **kwargs: Any) -> Any:
        return await self._call("_rm_file", path, path, **kwargs)

    async def _rm(self, path: str | list[str], recursive: bool = False, **kwargs: Any) -> Any:
        for one in [path] if isinstance(path, str) else path:
            # Object stores remove all that is below a prefix in few requests.
            await self._call("_rm", one, one, recursive=recursive, **kwargs)

    async def _mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> Any:
        return await self._call("_mkdir", path, path, create_parents=create_parents, **kwargs)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> Any:
        return await self._call("_makedirs", path, path, exist_ok=exist_ok)


def _told(pools: tuple[str, ...]) -> str:
    return f"on a worker of pool {one_of(pools)}" if pools else "in a process outside of all pools"


register_implementation(PROTOCOL, PooledFileSystem, clobber=True)
