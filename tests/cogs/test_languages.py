"""Members read answers, refusals and errors in the language of their Discord."""

from __future__ import annotations

import discord
import pytest
import simcord

from bot.errors import UnusablePicture
from bot.inference.types import DeviceMemory
from tests.catalogues import Catalogues
from tests.conftest import Scene
from tests.doubles import HeldExecutor

from .messages import button_labels, description, fields, refusal

FRENCH = {
    "Cancel": "Annuler",
    "Only the member who asked for this, or someone who manages messages here, can cancel it.": (
        "Seul le membre qui a demandé cela, ou qui gère les messages ici, peut l'annuler."
    ),
    "Cancelled by {name}.": "Annulé par {name}.",
    "Its message was deleted.": "Son message a été supprimé.",
    "Queue": "File d'attente",
    "Being painted": "En cours",
    "nothing": "rien",
    ("{n} waiting", "{n} waiting"): ("{n} en attente", "{n} en attente"),
    "This is not waiting or running any more, so it cannot be cancelled. `/queue` shows what is.": (
        "Cela n'attend plus et ne tourne plus, on ne peut donc pas l'annuler."
    ),
    "History": "Historique",
    "in this channel": "dans ce salon",
    "with “{text}”": "avec « {text} »",
    "There is nothing yet.": "Il n'y a encore rien.",
    "Ready": "Prêt",
    "nothing yet": "encore rien",
    "{used} of weights, {allowed} allowed. {free} of {total} are free.": (
        "{used} de poids, {allowed} permis. {free} sur {total} libres."
    ),
    "{size} GB": "{size} Go",
    "{size} MB": "{size} Mo",
    "This message has no pictures.": "Ce message n'a pas d'images.",
    "Choose one that has.": "Choisissez-en un autre.",
    "The model gave no usable picture, in full precision neither. "
    "Try another seed or fewer steps.": "Le modèle n'a rien donné. Essayez une autre graine.",
}


@pytest.fixture
def french_scene(held_scene: Scene, catalogues: Catalogues) -> Scene:
    """A server where Alice has her Discord in French, and all others have it in English."""
    catalogues.add("fr", FRENCH)
    catalogues.give(held_scene.alice, "fr")
    return held_scene


async def look(
    scene: Scene, member: simcord.MemberActor, command: str, **options: object
) -> simcord.ResponseMessage:
    result = await member.slash(scene.channel, command, **options)
    assert result.response is not None
    assert result.response.ephemeral
    return result.response


def texts(message: simcord.ResponseMessage) -> str:
    """Return all that a message of components says."""
    return "\n".join(
        text["content"]
        for part in message.components
        for text in part.get("components", ())
        if "content" in text
    )


async def test_an_empty_queue_is_in_the_language_of_who_looks(french_scene: Scene) -> None:
    alices = await look(french_scene, french_scene.alice, "queue")
    assert alices.embeds[0].title == "File d'attente"
    assert fields(alices) == {"En cours": "rien"}
    assert alices.embeds[0].footer.text == "0 en attente"
    bobs = await look(french_scene, french_scene.bob, "queue")
    assert fields(bobs) == {"Being painted": "nothing"}


async def test_an_empty_history_is_in_the_language_of_who_looks(french_scene: Scene) -> None:
    alices = await look(french_scene, french_scene.alice, "history", here=True, text="chat")
    assert texts(alices) == "## Historique\ndans ce salon avec « chat »\nIl n'y a encore rien."
    bobs = await look(french_scene, french_scene.bob, "history")
    assert texts(bobs) == "## History\nThere is nothing yet."


async def test_the_memory_is_in_the_language_of_who_looks(
    french_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def memory() -> list[DeviceMemory]:
        kinds = {"free": 10**9, "total": 80 * 10**9, "budget": 75 * 10**9, "host_budget": 0}
        return [DeviceMemory(device="NVIDIA H100", holdings=(), **kinds)]

    monkeypatch.setattr(french_scene.app.executor, "memory", memory)
    alices = await look(french_scene, french_scene.alice, "memory")
    assert description(alices) == "0,0 Mo de poids, 75,0 Go permis. 1,0 Go sur 80,0 Go libres."
    assert fields(alices) == {"Prêt": "encore rien"}
    bobs = await look(french_scene, french_scene.bob, "memory")
    assert fields(bobs) == {"Ready": "nothing yet"}


async def test_a_stranger_who_presses_is_refused_in_their_own_language(
    french_scene: Scene, held: HeldExecutor
) -> None:
    result = await french_scene.bob.slash(french_scene.channel, "generate", prompt="of bob")
    assert result.response is not None
    assert button_labels(result.response) == ["Cancel"]
    pressed = await french_scene.alice.click(result.response, label="Cancel")
    assert pressed.response is not None
    assert pressed.response.ephemeral
    assert pressed.response.content == (
        "Seul le membre qui a demandé cela, ou qui gère les messages ici, peut l'annuler."
    )


async def test_a_command_that_fails_says_so_in_the_members_language(french_scene: Scene) -> None:
    result = await french_scene.alice.slash(french_scene.channel, "cancel", job=99)
    assert refusal(french_scene, result) == (
        "Cela n'attend plus et ne tourne plus, on ne peut donc pas l'annuler."
    )


async def test_the_menu_of_a_message_speaks_the_members_language(french_scene: Scene) -> None:
    message = await french_scene.bob.send(french_scene.channel, "no pictures here")
    result = await french_scene.alice.context_menu(french_scene.channel, "Image info", message)
    assert refusal(french_scene, result) == "Ce message n'a pas d'images. Choisissez-en un autre."


async def test_an_error_of_the_worker_is_told_in_the_language_of_who_asked(
    french_scene: Scene, held: HeldExecutor
) -> None:
    held.events.put_nowait(UnusablePicture())
    message = await french_scene.generate()
    assert description(message).endswith("Le modèle n'a rien donné. Essayez une autre graine.")


async def test_who_is_called_off_by_a_moderator_reads_it_in_their_own_language(
    french_scene: Scene, held: HeldExecutor
) -> None:
    message = await french_scene.begin()
    assert button_labels(message) == ["Annuler"]
    await held.is_busy()
    await french_scene.moderator.click(message, label="Annuler")
    await french_scene.app.jobs.idle()
    assert description(message).endswith("Annulé par mod.")


async def test_whose_message_is_deleted_has_that_noted_in_their_own_language(
    french_scene: Scene, held: HeldExecutor
) -> None:
    message = await french_scene.begin()
    await held.is_busy()
    deleted = {"id": str(message.id), "channel_id": str(french_scene.channel.id)}
    event = discord.RawMessageDeleteEvent(deleted)  # type: ignore[arg-type]
    french_scene.app.client.dispatch("raw_message_delete", event)
    await french_scene.env.settle()
    await french_scene.app.jobs.idle()
    assert (await french_scene.app.storage.job(1)).error == "Son message a été supprimé."
