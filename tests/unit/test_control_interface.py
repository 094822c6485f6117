"""The interface file in the repository is what the code says."""

from __future__ import annotations

from zygote.control.__main__ import FILE, main, render
from zygote.control.interface import ManagerInterface
from zygote.manager.caller import Caller
from zygote.manager.peers import READ, Peer, Peers


def test_control_interface_file_equals_the_class() -> None:
    assert FILE.read_text() == render(), "run: python -m zygote.control --write"


def test_control_interface_is_printed(capsys) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == render()
    assert main(["--wrong"]) == 2


def test_control_every_method_of_the_contract_is_implemented() -> None:
    methods = {name for name in vars(ManagerInterface) if name[0].isupper()}
    assert methods == {name for name in vars(Caller) if name[0].isupper()}
    assert methods >= READ
    signature = "_varlink_signature"
    for name in methods:
        ours, contract = (getattr(getattr(c, name), signature) for c in (Caller, ManagerInterface))
        assert ours.parameter_type.as_varlink == contract.parameter_type.as_varlink
        assert ours.return_type.as_varlink == contract.return_type.as_varlink


def test_peers_rule() -> None:
    peers = Peers(uid=1000, readers=50)
    root, owner = Peer(1, 0, frozenset({0})), Peer(1, 1000, frozenset({1000}))
    reader, stranger = Peer(1, 7, frozenset({7, 50})), Peer(1, 7, frozenset({7}))
    assert [peers.is_operator(p) for p in (root, owner, reader, stranger)] == [
        True,
        True,
        False,
        False,
    ]
    assert [peers.is_reader(p) for p in (root, owner, reader, stranger)] == [
        True,
        True,
        True,
        False,
    ]
    assert not Peers(uid=1000).is_reader(reader)
