import io
import tarfile

from corral.bench.functions import distinct
from corral.bench.manage import pack, path_of
from corral.model import FunctionSpec


def test_distinct_functions_share_neither_name_nor_code() -> None:
    functions = distinct("cold", 300, FunctionSpec(initial=0))
    assert len({function.name for function in functions}) == 300
    assert len({pack({"app.py": function.source}) for function in functions}) == 300


def test_a_function_answers_with_its_own_name() -> None:
    (function,) = distinct("cold", 1, FunctionSpec())
    module: dict[str, object] = {}
    exec(function.source, module)  # noqa: S102
    main = module["main"]
    assert callable(main)
    assert main({}) == {"name": "cold-1"}
    assert path_of(function) == "/function/cold-1.bench"


def test_the_same_files_make_the_same_tar() -> None:
    packed = pack({"app.py": "def main(args): ...\n"})
    assert packed == pack({"app.py": "def main(args): ...\n"})
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getnames() == ["app.py"]
