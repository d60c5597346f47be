#!/usr/bin/env python3
"""Makes the training text, the held-out text and the chat examples of the example model.

    prepare.py [--work build/tiny-moe]

Writes WORK/train.txt (documents separated by a line of form feed), WORK/chat.jsonl and heldout.txt beside this
script. Deterministic for given package versions.
"""

import argparse
import json
import pathlib
import random
import re

import sources

SEPARATOR = "\n\f\n"
HELD_OUT_BOOKS = ("Ruth", "Jonah")
HELD_OUT_PARAGRAPHS = 150
HELD_OUT_DEFINITIONS = 60
UNFIT = re.compile(r"nigg|negro|whor|sex|\brape|breast|naked|hebrew|\bjew", re.I)
BOOK_NAMES = {"Psa": "the Psalms", "Prv": "the Proverbs", "Eccl": "Ecclesiastes", "Mat": "Matthew", "Ge": "Genesis",
              "Isa": "Isaiah", "John": "John", "Job": "Job", "Rom": "Romans"}
ABOUT = [
    (("Who are you?", "What are you?", "What is your name?", "Tell me about yourself.", "Introduce yourself."),
     ("I am a very small language model. I have learned from old novels, the Bible and a box of fortune cookies.",
      "I am a tiny mixture of experts, with a few million parameters and a great love of old books.",
      "I am a little language model. I do not know much, but I try to write good English.")),
    (("Hello!", "Hi.", "Good morning.", "Hello, how are you?", "Good evening.", "Hi there!"),
     ("Good day to you. I am very glad to see you.", "Hello! I hope that you are well.",
      "Good morning, my dear friend. How can I be of service?")),
    (("Thank you.", "Thanks!", "Thank you very much."),
     ("You are very welcome.", "It was my pleasure.", "Not at all. I am happy to be of use.")),
    (("Goodbye.", "Good night.", "Farewell."),
     ("Farewell, and may you be happy.", "Good night. I hope to see you again soon.")),
    (("What can you do?", "How can you help me?", "What do you know?"),
     ("I can tell you a proverb, explain a word in jest, or carry on a conversation as they did two hundred years ago.",
      "I can continue a story, recite a verse, or tell you a fortune.")),
]


def novel_documents(books):
    """One document per stretch of 60 paragraphs; the end of Persuasion is held out."""
    documents, held = [], []
    for name, text in books.items():
        if name == "persuasion":
            held = text[-HELD_OUT_PARAGRAPHS:-12]
            text = text[:-HELD_OUT_PARAGRAPHS]
        documents += ["\n\n".join(text[i:i + 60]) for i in range(0, len(text), 60)]
    return documents, "\n\n".join(held)


def bible_documents(books):
    """One document per chapter, a verse a line; two short books are held out."""
    documents, held = [], []
    for name, chapters in books.items():
        (held if name in HELD_OUT_BOOKS else documents).extend("\n".join(c) for c in chapters)
    return documents, "\n\n".join(held)


def speech_of(paragraph):
    """The spoken words of a paragraph that begins with speech, without `said he`; None for other paragraphs."""
    if not paragraph.startswith('"') or not paragraph.endswith('"'):
        return None
    spoken = [s.strip() for s in re.findall(r'"([^"]+)"', paragraph)]
    text = " ".join(spoken)
    return text[0].upper() + text[1:] if spoken and 8 <= len(text) <= 420 else None


def dialogues(books):
    """Runs of two to six adjacent paragraphs that are speech, as turns."""
    found, run = [], []
    for text in books.values():
        for paragraph in text + [""]:
            speech = speech_of(paragraph)
            if speech:
                run.append(speech)
            if not speech or len(run) == 6:
                usable = run[:len(run) // 2 * 2]
                found += [usable] if usable else []
                run = []
    return found


def chat_examples(books, scripture, fortunes, entries, rng):
    """A list of conversations, each a list of alternating user and assistant texts."""
    chats = dialogues(books)
    for book, name in BOOK_NAMES.items():
        verses = [v for chapter in scripture.get(book, []) for v in chapter if len(v) < 260]
        asks = [f"Give me a verse from {name}.", f"Read me something from {name}.", f"Recite a verse of {name}."]
        if book == "Prv":
            asks = ["Tell me a proverb.", "Do you know a proverb?", "Say something wise.", "Give me some advice."]
        chats += [[rng.choice(asks), verse] for verse in rng.sample(verses, min(len(verses), 500))]
    for word, meaning in entries.items():
        for ask in rng.sample([f"What is the meaning of {word}?", f"Define {word}.", f"What does {word} mean?"], 2):
            chats.append([ask, meaning])
    asks = ["Tell me a fortune.", "Make me laugh.", "Open a fortune cookie.", "Tell me something funny.", "Amuse me."]
    short = [" ".join(f.split()) for f in fortunes if len(f) < 240 and f.count("\n") < 4]
    chats += [[rng.choice(asks), f] for f in short]
    for text in books.values():
        for paragraph in text:
            match = re.match(r"([A-Z][^\"]{40,160}?[,;]) ([^\"]{60,400}[.!?])", paragraph)
            if match and len(match[0]) == len(paragraph):
                chats.append([f"Continue: {match[1]}", match[2]])
    for questions, answers in ABOUT:
        chats += [[rng.choice(questions), rng.choice(answers)] for _ in range(90)]
    chats = [c for c in chats if not any(UNFIT.search(t) for t in c)]
    rng.shuffle(chats)
    return chats


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=pathlib.Path, default=here.parent.parent / "build/tiny-moe")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    root = sources.unpack(args.work / "packages")
    rng = random.Random(3)
    books, scripture = sources.novels(root), sources.bible(root)
    fortunes, entries = sources.fortunes(root), sources.devils_dictionary(root)
    fortunes = [f for f in fortunes if not UNFIT.search(f)]
    words = [w for w, meaning in entries.items() if not UNFIT.search(meaning)]
    rng.shuffle(words)
    held_definitions = [f"{w.capitalize()}: {entries[w]}" for w in words[:HELD_OUT_DEFINITIONS]]
    entries = {w: entries[w] for w in words[HELD_OUT_DEFINITIONS:]}
    prose, held_prose = novel_documents(books)
    verses, held_verses = bible_documents(scripture)
    definitions = [f"{w.capitalize()}: {m}" for w, m in entries.items()]
    documents = prose + verses + fortunes + definitions
    rng.shuffle(documents)
    books["persuasion"] = books["persuasion"][:-HELD_OUT_PARAGRAPHS]
    chats = chat_examples(books, scripture, fortunes, entries, rng)
    held = "\n\n".join([held_prose, held_verses, *held_definitions]) + "\n"
    (args.work / "train.txt").write_text(SEPARATOR.join(documents), "utf-8")
    (args.work / "chat.jsonl").write_text("".join(json.dumps(c) + "\n" for c in chats), "utf-8")
    (here / "heldout.txt").write_text(held, "utf-8")
    print(f"{len(documents)} documents, {sum(map(len, documents))} characters; {len(chats)} conversations, "
          f"{sum(len(t) for c in chats for t in c)} characters; held out {len(held)} characters")


if __name__ == "__main__":
    main()
