"""The languages that come with the suite. Any two of them make a direction; those listed are the paper's."""

from collections.abc import Callable

from xkeb.registry.hookspecs import hookimpl
from xkeb.types import Language, LanguagePair
from xkeb_plugins.languages.segmentation import characters, words

LANGUAGES = (
    words("cs", "Czech", "Otázka: {}\nOdpověď:"),
    words("de", "German", "Frage: {}\nAntwort:", "der die das den dem des ein eine einen einem einer eines"),
    words("en", "English", "Question: {}\nAnswer:", "a an the"),
    words("es", "Spanish", "Pregunta: {}\nRespuesta:", "el la los las lo un una unos unas"),
    words("fr", "French", "Question : {}\nRéponse :", "le la les l un une des", elides=True),
    words("nl", "Dutch", "Vraag: {}\nAntwoord:", "de het een"),
    words("pt", "Portuguese", "Pergunta: {}\nResposta:", "o a os as um uma uns umas"),
    words("ru", "Russian", "Вопрос: {}\nОтвет:"),
    characters("th", "Thai", "คำถาม: {}\nคำตอบ:", separator=" "),  # a space is how Thai ends a sentence
    words("tr", "Turkish", "Soru: {}\nCevap:", elides=True, capitals={"I": "ı", "İ": "i"}),
    words("vi", "Vietnamese", "Câu hỏi: {}\nTrả lời:"),
    characters("zh", "Chinese", "问题：{}\n答案：", separator=""),
)


@hookimpl
def register_languages(register: Callable[[str, Language], None]) -> None:
    for language in LANGUAGES:
        register(language.code, language)


@hookimpl
def register_language_pairs(register: Callable[[str, LanguagePair], None]) -> None:
    for pair in (LanguagePair("en", "zh"), LanguagePair("zh", "en")):
        register(pair.name, pair)
