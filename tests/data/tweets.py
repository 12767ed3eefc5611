#!/usr/bin/env python3
"""The sample tweets in pipelines/data/tweets.

Usage: tweets.py [--check] [DIR]

Writes eight days of made-up tweets as newline-delimited JSON, one file a day (by Pacific time),
in the layout of the reference job: date, user, text, sentiment ("0", "2" or "4"). The output is
always the same. With --check nothing is written: the exit code is 1 unless DIR holds exactly
these files.

Every text comes from the grammar below and every user name is invented. About half of the
tweets mention somebody, a few users far more often than the rest; mentions come in all the
shapes people write (`@name:`, `.@name`, `@Name`, two or three in a row), some texts are sent on
again, and dates carry several zones. Each row is a good row.
"""
import json
import random
import re
import sys
from bisect import bisect
from datetime import date, datetime, timedelta, timezone
from itertools import accumulate
from pathlib import Path

DIR = Path(__file__).resolve().parents[2] / "pipelines" / "data" / "tweets"
DAYS = [date(2009, 4, 6), date(2009, 4, 17), date(2009, 4, 20), date(2009, 5, 2),
        date(2009, 5, 14), date(2009, 5, 29), date(2009, 6, 1), date(2009, 6, 15)]
TWEETS_PER_DAY = 250
LONGEST = 140
ZONES = {"PDT": -7, "PST": -8, "EST": -5, "GMT": 0, "UTC": 0, "BST": 1}
ZONE_WEIGHTS = [78, 3, 5, 4, 6, 4]
USERS, MENTIONED = 420, 160
GOOD, BAD, PLAIN = "4", "0", "2"

# What a {slot} can stand for. A value may hold slots itself.
SLOTS = {
    "very": ["so", "really", "very", "absolutely", "just so", "incredibly"],
    "today": ["today", "this morning", "this afternoon", "tonight"],
    "soon": ["tomorrow", "on Friday", "next week", "this weekend", "on Monday", "tonight"],
    "who": ["my sister", "my brother", "mum", "dad", "my flatmate", "my best friend", "the kids",
            "my neighbour", "grandma", "my cousin", "my other half", "the whole family"],
    "city": ["Lisbon", "Seattle", "Leeds", "Porto", "Dublin", "Zürich", "Montréal", "Oslo",
             "Portland", "Kraków", "Glasgow", "San José", "Málaga", "Chicago", "São Paulo"],
    "drink": ["coffee", "espresso", "flat white", "cappuccino", "café au lait", "pot of tea",
              "iced coffee", "mocha", "green tea", "hot chocolate"],
    "bakery": ["a croissant", "a cinnamon bun", "carrot cake", "a blueberry muffin", "banana bread",
               "a crêpe", "an almond biscotti", "an éclair"],
    "cafe": ["the corner café", "that little place by the bridge", "the Paper Lantern",
             "the station kiosk", "the new café in town", "Fox & Kettle"],
    "airport": ["the gate", "security", "the check-in desk", "baggage claim", "passport control"],
    "hours": ["two hours", "three hours", "forty minutes", "an hour", "ninety minutes",
              "half the day"],
    "subject": ["chemistry", "maths", "history", "biology", "French", "statistics", "physics",
                "geography", "economics", "English lit"],
    "team": ["the Harbour Rovers", "Northfield United", "the Otters", "Millbrook Town",
             "the Granite City Hawks", "Eastgate Albion", "Tollgate Wanderers"],
    "score": ["2-1", "3-0", "1-0", "4-2", "3-1", "5-2"],
    "player": ["our keeper", "the new striker", "the captain", "number nine", "the young winger"],
    "gadget": ["phone", "laptop", "camera", "headset", "printer", "tablet", "music player"],
    "part": ["battery", "screen", "charger", "keyboard", "touchpad", "speaker"],
    "band": ["Paper Comets", "Velvet Anoraks", "Lowtide", "Marigold Parade", "Static Orchard",
             "Tin Umbrellas", "Señor Nimbus", "Glasshouse Radio"],
    "record": ["album", "single", "EP", "live set", "acoustic version", "video"],
    "dish": ["lasagne", "mushroom risotto", "jalapeño cornbread", "Thai green curry", "lentil soup",
             "roast chicken", "paella", "crème brûlée", "pancakes", "sourdough", "fish tacos",
             "apple crumble", "gnocchi", "ramen", "shakshuka"],
    "pet": ["the cat", "our puppy", "the hamster", "my dog", "the kitten", "our old cat",
            "the rabbit", "the parrot"],
    "furniture": ["the sofa", "my keyboard", "the windowsill", "my clean laundry", "the armchair",
                  "the bookshelf", "my lap"],
    "boss": ["my boss", "the client", "our manager", "the whole team", "head office"],
    "report": ["the report", "my presentation", "the budget", "the spreadsheet", "the proposal",
               "the newsletter", "that website"],
    "transport": ["bus", "train", "tram", "ferry", "subway", "number 12 bus", "7:40 train"],
    "film": ["The Lighthouse Clock", "Midnight Orchard", "Seven Paper Boats", "The Last Ferry Home",
             "Robots of Rain", "A Winter in Brno", "The Tea Thief", "Journey to Pluto"],
    "book": ["The Salt Almanac", "Nine Quiet Rivers", "The Clockmaker's Atlas",
             "A Map of Small Hours", "The Weather Keeper", "Moths and Lanterns"],
    "series": ["Harbour Street", "Code & Crumpets", "Station Nine", "The Allotment", "Cold Fjord"],
    "plant": ["tomatoes", "sunflowers", "beans", "strawberries", "roses", "peas", "courgettes",
              "tulips", "chilli plants"],
    "game": ["chess", "Puzzle Harbour", "table tennis", "Dragon Kart", "Scrabble", "Sky Miners",
             "badminton", "cards"],
    "item": ["raincoat", "bike", "desk lamp", "guitar", "backpack", "watch", "winter coat"],
    "goods": ["shoes", "jeans", "headphones", "sunglasses", "umbrellas", "bike lights", "mugs"],
    "thing": ["shoes", "jeans", "headphones", "a raincoat", "a bike", "sunglasses", "a desk lamp",
              "a guitar", "a backpack"],
    "place": ["the beach", "the park", "the lake", "the mountains", "the city", "the river path",
              "the old harbour", "the coast"],
    "ache": ["headache", "toothache", "sore throat", "cold", "stomach ache", "stiff neck", "fever"],
    "run": ["5k", "10k", "half marathon", "long run", "bike ride", "swim", "yoga class"],
    "link": ["http://example.com/{code}", "http://example.org/p/{code}",
             "http://pics.example.net/{code}"],
}

# Topic -> hashtag and sentences per mood.
TOPICS = {
    "weather": ("#weather", {
        GOOD: ["The sun is finally out in {city}", "What a gorgeous day, heading to {place}",
               "Loving this warm weather {today}", "Perfect blue sky over {city} {today}",
               "Fresh snow in {city} and everything looks beautiful",
               "Sitting outside in the sunshine with {who}, bliss",
               "That thunderstorm was spectacular, best show in weeks"],
        BAD: ["It is raining in {city} again and I am soaked", "So tired of this grey weather",
              "Freezing cold {today} and the heating is broken",
              "Hail! In {city}! I hate this weather", "The rain ruined our trip to {place}",
              "Too hot to sleep, too hot to think", "My umbrella just broke in the storm"],
        PLAIN: ["Cloudy in {city} {today}", "The forecast for {city} says rain {soon}",
                "Changing wind over {place} {today}", "18 degrees in {city} right now"]}),
    "coffee": ("#coffee", {
        GOOD: ["Best {drink} ever at {cafe}", "A {drink} and {bakery}: my morning is perfect",
               "{cafe} gave me a free {drink} {today}, so kind",
               "Nothing beats the first {drink} of the day", "I love the smell of fresh coffee",
               "Enjoying {bakery} with {who} at {cafe}"],
        BAD: ["Just spilled my {drink} all over the desk", "Out of coffee. This is a disaster",
              "The {drink} at {cafe} was awful", "Paid far too much for a cold {drink}",
              "{cafe} is closed and I am miserable without a {drink}",
              "Burnt my tongue on a {drink}, ouch"],
        PLAIN: ["Having a {drink} at {cafe}", "Getting a {drink} before work",
                "{cafe} opens at eight {soon}", "Does {cafe} sell {bakery}?"]}),
    "travel": ("#travel", {
        GOOD: ["Just landed in {city}, so excited", "Got upgraded on my flight to {city}!",
               "Booked a trip to {city} with {who}, can't wait",
               "Smooth flight and the nicest crew ever", "{city} is even prettier than I imagined",
               "Back from {city} with the best memories",
               "Window seat and a sunset over {city}, wow"],
        BAD: ["My flight to {city} is delayed by {hours}", "They lost my suitcase in {city}",
              "Stuck at {airport} for {hours}, worst airport ever",
              "Missed my flight to {city} and nobody will help", "I miss {city} so much already",
              "The hotel in {city} was dirty and loud", "Flight cancelled, holiday ruined"],
        PLAIN: ["At {airport}, flying to {city} {soon}", "Packing for {city}",
                "Boarding for {city} now", "Which terminal is it for {city}?"]}),
    "school": ("#exams", {
        GOOD: ["I passed my {subject} exam!", "Exams are over, I feel so free",
               "Got an A in {subject}, so proud",
               "Finally understand {subject}, what a great feeling",
               "My {subject} teacher is the best", "Top marks for my {subject} essay, thrilled"],
        BAD: ["I failed my {subject} exam", "Three hours of {subject} revision and I know nothing",
              "{subject} homework is killing me", "I have a {subject} exam {soon} and I'm scared",
              "Worst {subject} test of my life", "So stressed about {subject}, want to cry"],
        PLAIN: ["Reading my {subject} notes", "{subject} exam {soon} at nine",
                "Chapter six of {subject} {today}", "The library is open until ten {today}"]}),
    "football": ("#football", {
        GOOD: ["What a goal! {team} win {score}!", "{team} are through to the final, amazing",
               "{player} was brilliant {today}", "{score}! Happiest fan in {city}",
               "Great match with {who}, {team} played beautifully",
               "Three points for {team}, love this team"],
        BAD: ["{team} lost {score}, I am gutted", "Terrible match, {team} never turned up",
              "{player} is injured, there goes our season", "Another awful decision by the referee",
              "Can't believe {team} threw it away in the last minute",
              "{score} down at half time, this is painful"],
        PLAIN: ["{team} play in {city} {soon}", "Half time, {score}", "Kick-off is at three {soon}",
                "{player} starts on the bench {today}"]}),
    "gadgets": ("#tech", {
        GOOD: ["Loving my new {gadget}", "My {gadget} works again, hooray!",
               "Support fixed my {gadget} in ten minutes, fantastic service",
               "The {part} on this {gadget} is wonderful", "Finally bought the {gadget} I wanted",
               "Great update, my {gadget} is twice as fast now"],
        BAD: ["My {gadget} died again", "Dropped my {gadget} and the {part} is cracked",
              "This {gadget} is useless, the {part} broke after a week",
              "On hold with support for {hours}, horrible service",
              "Lost all my photos when the {gadget} crashed",
              "The wifi is down and I hate everything"],
        PLAIN: ["Installing the update on my {gadget}", "Which {gadget} should I get?",
                "Charging my {gadget}", "New {part} for the {gadget} arrives {soon}"]}),
    "music": ("#nowplaying", {
        GOOD: ["The new {band} {record} is beautiful", "{band} were incredible live {today}!",
               "Got tickets for {band} in {city}, yay!",
               "Singing {band} songs in the car with {who}",
               "Can't stop listening to the {band} {record}, so good",
               "{band} just made my day"],
        BAD: ["{band} cancelled the show in {city}", "So disappointed by the new {band} {record}",
              "{band} tickets sold out in a minute, unfair", "Someone stole my {band} {record}",
              "I can't get to the {band} gig and it hurts",
              "Worst sound ever at the {band} show, what a waste"],
        PLAIN: ["Listening to {band}", "New {band} {record} out {soon}",
                "{band} play {city} {soon}", "The {band} {record} has eleven tracks"]}),
    "cooking": ("#cooking", {
        GOOD: ["My {dish} turned out perfect", "{who} made {dish}, delicious!",
               "Best {dish} I have ever eaten", "Homemade {dish} and a good film, happy",
               "The kitchen smells amazing, {dish} in the oven",
               "Everybody loved my {dish} {today}"],
        BAD: ["Burnt the {dish} again", "Disgusting {dish} for dinner",
              "Cut my finger making {dish}, ow", "I'm starving and I ruined the {dish}",
              "Food poisoning from the {dish}, never again",
              "{who} ate all my {dish}, I'm so annoyed"],
        PLAIN: ["Making {dish} for dinner", "Does anyone have a recipe for {dish}?",
                "{dish} for lunch {today}", "Buying things for {dish}"]}),
    "pets": ("#pets", {
        GOOD: ["{pet} fell asleep on {furniture}, too cute", "{pet} learned a new trick!",
               "We adopted a kitten, I'm in love", "{pet} is all better, such a relief",
               "Long walk with my dog by {place}, lovely", "{pet} makes me laugh every day"],
        BAD: ["{pet} is sick and I'm so worried", "{pet} destroyed {furniture}",
              "We had to say goodbye to our old dog, heartbroken",
              "{pet} ran away, I feel terrible", "{pet} woke me at four, exhausted",
              "Huge vet bill for {pet}, ugh"],
        PLAIN: ["{pet} is on {furniture}", "Taking {pet} to the vet {soon}",
                "Buying food for {pet}", "{pet} is staring at {furniture}"]}),
    "work": ("#work", {
        GOOD: ["{boss} loved {report}!", "I got the job!!", "Finished {report} early, feels great",
               "Friday at last, fun weekend ahead", "So lucky to work with such nice people",
               "Promotion! Celebrating with {who} {today}"],
        BAD: ["{boss} hated {report}", "Working late again, so tired of this job",
              "Lost {report} and have to start over", "Monday again. I want my weekend back",
              "They let half of us go {today}, feeling sick",
              "Pointless meeting for {hours}, I'm bored to tears"],
        PLAIN: ["Writing {report}", "Meeting with {boss} {soon}", "Sending {report} to {boss}",
                "In the office until six {today}"]}),
    "sleep": ("#sleep", {
        GOOD: ["Slept ten hours and feel wonderful", "Pyjamas, a blanket and {series}: heaven",
               "Lazy Sunday with {who}, perfect", "Good morning world, I feel great {today}",
               "New pillow, best night's sleep in months"],
        BAD: ["Can't sleep, again", "Only slept for two hours, feeling awful",
              "Nightmares all night, I hate this", "So tired I could cry",
              "The neighbours are so loud, no sleep for me"],
        PLAIN: ["Going to bed", "Up at six", "Setting the alarm for seven",
                "Nap before dinner"]}),
    "commute": ("#commute", {
        GOOD: ["Empty {transport} and a seat by the window, nice",
               "The {transport} driver waited for me, what a hero",
               "Cycled to work in the sun, best start to the day",
               "A stranger on the {transport} gave me {bakery}, how sweet",
               "No traffic at all {today}, great"],
        BAD: ["The {transport} is late again", "Stuck in traffic for {hours}, so angry",
              "Left my bag on the {transport}, so upset",
              "Somebody stole my bike in {city}", "Squashed on the {transport}, I can't breathe",
              "Missed the last {transport} and it's pouring"],
        PLAIN: ["On the {transport} to {city}", "Waiting for the {transport}",
                "The {transport} stops at {place}", "Taking the {transport} {today}"]}),
    "film": ("#film", {
        GOOD: ["{film} was fantastic, go and see it", "Laughed so hard at {film}",
               "Watching {series} with {who}, love this show",
               "The ending of {film} is beautiful", "Film night with {who}, so much fun"],
        BAD: ["{film} was so boring, I want my money back",
              "They cancelled {series}, I'm so sad", "Cried all the way through {film}",
              "Someone spoiled the end of {series} for me, furious",
              "Worst film of the year: {film}"],
        PLAIN: ["Going to see {film} {soon}", "Watching {series}", "{film} starts at nine",
                "Has anyone seen {film}?"]}),
    "books": ("#reading", {
        GOOD: ["{book} is a wonderful read", "Stayed up late with {book}, worth it",
               "My copy of {book} is here, yay", "The library had {book}, lucky me",
               "Rainy day, {drink}, {book}: happiness"],
        BAD: ["{book} was a big disappointment", "Lost {book} on the {transport}, halfway through",
              "The end of {book} broke my heart", "Dropped {book} in the bath, nooo",
              "Trying to like {book} but it's terrible"],
        PLAIN: ["Reading {book}", "Halfway through {book}", "{book} is due back {soon}",
                "Chapter three of {book}"]}),
    "garden": ("#garden", {
        GOOD: ["First {plant} of the year, so happy", "The {plant} are growing like mad, love it",
               "A lovely day in the garden with {who}", "Our {plant} won a prize!",
               "Picked fresh {plant} for dinner, delicious"],
        BAD: ["Slugs ate all my {plant}", "The frost killed my {plant}, so sad",
              "Hurt my back digging up {plant}", "My {plant} are all dead",
              "Weeds everywhere, I give up"],
        PLAIN: ["Planting {plant} {today}", "Watering the {plant}", "The {plant} need more sun",
                "Where can I buy {plant}?"]}),
    "games": ("#games", {
        GOOD: ["Beat {who} at {game}, victory!", "{game} all evening with {who}, great fun",
               "New high score in {game}!", "{game} is the best thing ever",
               "Won the {game} tournament {today}, over the moon"],
        BAD: ["Lost at {game} to {who} again, so annoying", "{game} crashed and ate my save",
              "I'm terrible at {game}", "Knocked out of the {game} tournament, gutted",
              "{game} night is cancelled, bummer"],
        PLAIN: ["Playing {game}", "Anyone up for {game} {soon}?", "{game} with {who} {soon}",
                "Learning the rules of {game}"]}),
    "health": ("#health", {
        GOOD: ["Finished my first {run}, so proud!", "New personal best {today}, feeling strong",
               "No more {ache}, I feel amazing", "Lovely {run} by {place}",
               "The doctor says I'm fine, what a relief"],
        BAD: ["I have a terrible {ache}", "Home sick with a {ache}, feeling sorry for myself",
              "Twisted my ankle during the {run}, it really hurts",
              "At the dentist, scared", "This {ache} won't go away, I feel awful"],
        PLAIN: ["Off for a {run}", "Doctor's appointment {soon}", "{run} with {who} {soon}",
                "Stretching before the {run}"]}),
    "shopping": ("#shopping", {
        GOOD: ["Found {thing} at half price, what a bargain", "{who} bought me {thing}, so sweet",
               "I love my new {item}", "Lovely staff in the shop {today}, made me smile",
               "My parcel came early, so happy"],
        BAD: ["My new {item} fell apart already", "The shop was out of {goods}, typical",
              "Spent too much money {today}, I feel sick", "My parcel is lost, so angry",
              "Queueing for {hours} to return {thing}, hate it"],
        PLAIN: ["Looking for {thing}", "Need {thing} for {city}", "The sale starts {soon}",
                "Ordered {thing} {today}"]}),
    "party": ("#party", {
        GOOD: ["Happy birthday to {who}, have a wonderful day!",
               "Great party {today}, thanks everyone",
               "Surprise party for {who}, they loved it!", "We got engaged, so happy",
               "Dancing until two with {who}, what a night", "Cake! {dish}! Best birthday ever"],
        BAD: ["Nobody came to my party", "Everyone forgot my birthday, I feel so lonely",
              "{who} can't come {soon}, I'm so sad", "Awful hangover, never again",
              "Had a fight with {who}, miserable now", "I miss {who} so much"],
        PLAIN: ["Planning a birthday party for {who}", "Wrapping a present for {who}",
                "What time is the party {soon}?", "Making {dish} for the party {soon}"]}),
}

STARTS = {
    GOOD: ["Yay!", "Woohoo!", "Wow.", "Finally!", "Oh yes!", "Aww.", "Good news:", "Happy day!",
           "Haha,"],
    BAD: ["Ugh.", "Argh!", "Oh no.", "Sigh.", "Nooo.", "Bah.", "Seriously?", "Not again.", "Grr,"],
    PLAIN: ["Ok,", "Note to self:", "Well,", "So,", "Hm.", "FYI:"],
}
ENDS = {
    GOOD: ["Life is good", "So happy", "Love it", "Can't stop smiling", "Made my day",
           "Thank you all",
           "Feeling lucky", "Such a good day", "I'm {very} happy", "Big smile here",
           "Highly recommended",
           "What a treat", "Still smiling", "Couldn't be better"],
    BAD: ["Not happy", "So annoyed", "Worst day ever", "I give up", "Feeling down",
          "This is {very} sad",
          "Want to go home", "Why me", "I'm {very} tired", "Hate it", "Not fair", "What a mess",
          "Never again", "I need a hug"],
    PLAIN: ["More later", "Let's see", "Back in an hour", "Details here", "That's all", "As usual"],
}
FACES = {
    GOOD: [":)", ":-)", ":D", "=)", ";)", "xD", "&lt;3", "♥", "☺", "😊", "🎉", "☀️"],
    BAD: [":(", ":-(", ":'(", "=(", ":/", "D:", "😢", "😡", "☹"],
    PLAIN: [":)", ":|"],
}
MARKS = {GOOD: ["!", "!", "!!", ".", ""], BAD: [".", "...", "!", ""], PLAIN: [".", "", ""]}
# Answers that make sense only when they mention somebody; {a} and {b} are mentions.
TALK = {
    GOOD: ["{a} thank you so much, you made my day", "{a} congratulations!! So happy for you",
           "Thanks {a} and {b} for a lovely evening", "{a} haha that is brilliant",
           "{a} good luck {soon}, you'll be great", "Lunch with {a} was wonderful",
           "{a} welcome back! We missed you & love having you here", "Happy birthday {a}!!",
           "Love the new photos by {a}, stunning {link}", "{a} I loved your {dish}, amazing",
           "So glad I met {a} and {b} {today}", "Huge thanks to {a} for fixing my {gadget}",
           "{a} yes! See you at {place}, can't wait", "Great talk by {a} {today}, learned a lot"],
    BAD: ["{a} I'm so sorry to hear that", "{a} oh no, get well soon", "I miss {a} so much",
          "{a} that is awful, poor you", "Waiting for {a} for {hours} now, not funny",
          "{a} sorry I can't come {soon}, I'm ill", "{a} and {b} went without me, I feel left out",
          "{a} my {gadget} is broken too, so annoying", "{a} why didn't you call? I was worried",
          "Bad news {a}, they cancelled the {band} show",
          "{a} still no answer from you, disappointed"],
    PLAIN: ["{a} what time {soon}?", "{a} are you going to {city} {soon}?",
            "{a} I sent you an email",
            "{a} have you read {book}?", "Meeting {a} and {b} at {cafe} {soon}",
            "{a} see {link}", "{a} which {gadget} do you have?", "{a} I think it is on {soon}"],
}
LETTERS = list("abcdefghkmnpqrstuvwxyz23456789")
NAME_A = ["quiet", "maple", "rainy", "lumen", "copper", "velvet", "pixel", "sleepy", "little",
          "north",
          "salty", "paper", "minty", "lunar", "dusty", "brave", "cosy", "mellow", "wild", "tiny",
          "Amber", "Blue", "Juniper", "Sunny", "Marble", "Cloud"]
NAME_B = ["kettle", "otter", "lantern", "bicycle", "pancake", "harbour", "biscuit", "comet",
          "acorn",
          "teapot", "walrus", "meadow", "ukulele", "sparrow", "button", "anchor", "pickle",
          "thimble",
          "Waffle", "Badger", "Compass", "Radish", "Moth", "Pebble"]


class Dice:
    """Random choices from `random()` alone: that sequence is promised to stay the same."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random

    def below(self, limit: int) -> int:
        return int(self.random() * limit)

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def one(self, items: list) -> object:
        return items[self.below(len(items))]

    def two(self, items: list) -> tuple[object, object]:
        """Two different ones."""
        first = self.below(len(items))
        second = (first + 1 + self.below(len(items) - 1)) % len(items)
        return items[first], items[second]

    def weighted(self, sums: list[float]) -> int:
        """An index, as often as its weight says; `sums` are the weights added up."""
        return min(bisect(sums, self.random() * sums[-1]), len(sums) - 1)


def capital(text: str) -> str:
    """With a capital at the start of every sentence."""
    return re.sub(r"(^|[.!?] )([^\W\d_])", lambda start: start[1] + start[2].upper(), text)


class Author:
    """A user, with a time zone and a way of writing."""

    def __init__(self, name: str, dice: Dice) -> None:
        self.name = name
        self.zone = list(ZONES)[dice.weighted(list(accumulate(ZONE_WEIGHTS)))]
        self.lowercase = dice.chance(0.3)
        self.shouts = dice.chance(0.2)
        self.faces = dice.random() * 0.7


class Writer:
    """Makes tweets."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        names: dict[str, str] = {}  # in lower case: as it is written
        while len(names) < USERS:
            name = dice.one(NAME_A) + dice.one(["", "_", ""]) + dice.one(NAME_B)
            name += dice.one(["", "", str(dice.below(99)), "_x", str(1970 + dice.below(25))])
            names.setdefault(name.lower(), name)
        self.authors = [Author(name, dice) for name in names.values()]
        # Zipf's law: the first is mentioned twice as often as the second, and so on.
        self.popularity = list(accumulate(1 / rank for rank in range(1, MENTIONED + 1)))
        self.activity = list(accumulate(1 / (rank + 9) for rank in range(len(self.authors))))
        self.author = self.authors[0]
        self.filled: dict[str, str] = {}
        self.sent_on: list[tuple[str, str]] = []

    def fill(self, template: str) -> str:
        """Replace every slot; a tweet uses the same value for a slot throughout."""
        def value(match: re.Match) -> str:
            slot = match[1]
            if slot == "code":
                return "".join(self.dice.one(LETTERS) for _ in range(5))
            if slot not in self.filled:
                self.filled[slot] = self.fill(self.dice.one(SLOTS[slot]))
            return self.filled[slot]
        text = re.sub(r"\{(\w{2,})\}", value, template)
        return re.sub(r"(?<!an )\b([Aa]) (?=[aeioéE])", r"\1n ", text)

    def mention(self) -> str:
        """A popular user's name, written as people write it."""
        name = self.author.name
        while name == self.author.name:  # nobody mentions themselves
            name = self.authors[self.dice.weighted(self.popularity)].name
        if self.dice.chance(0.06):
            name = name.upper()
        elif self.dice.chance(0.12):
            name = name.lower()
        return "@" + name

    def mentions(self, count: int) -> list[str]:
        found: dict[str, str] = {}
        while len(found) < count:
            at = self.mention()
            found.setdefault(at.lower(), at)
        return list(found.values())

    def style(self, text: str, author: Author) -> str:
        """Write as the author does; names and links keep their letters."""
        if author.lowercase:
            text = re.sub(r"(?<!\S)(?!http|@)\S+", lambda word: word[0].lower(), text)
        if author.lowercase and self.dice.chance(0.3):
            text = text.replace("can't", "cant").replace("I'm", "im").replace("i'm", "im")
        if author.shouts and self.dice.chance(0.15):
            text = re.sub(r"\b(love|hate|so|really|best|worst|never)\b",
                          lambda word: word[0].upper(), text)
        if self.dice.chance(0.06):
            text = re.sub(r"\bso\b", "s" + "o" * (3 + self.dice.below(4)), text, count=1)
        return text

    def sentence(self, mood: str) -> str:
        """Something about a topic, in a mood."""
        dice = self.dice
        tag, sentences = TOPICS[dice.one(list(TOPICS))]
        first, second = dice.two(sentences[mood])
        raw = self.fill(first)
        text = capital(raw)
        mark = dice.one(MARKS[mood])
        question = text[-1] in "!?"
        if dice.chance(0.28):
            start = dice.one(STARTS[mood])
            if start[-1] in ",:":  # the sentence goes on, so only names keep their capital
                name = first[0] == "{" or re.match(r"I\b|Friday|Monday", raw)
                text = raw if name else raw[0].lower() + raw[1:]
            text = f"{start} {text}"
        if mood != PLAIN and dice.chance(0.06):  # the mood of the last words counts
            other = capital(self.fill(dice.one(sentences[BAD if mood == GOOD else GOOD])))
            text = f"{other.rstrip('.!')}. But then: {text}"
        elif dice.chance(0.2):
            text += ("" if question else ".") + " " + capital(self.fill(second))
            question = text[-1] in "!?"
        elif dice.chance(0.36) and not (question and mood == PLAIN):
            text += "" if question else dice.one([".", "!"]) if mood == GOOD else "."
            text += " " + self.fill(dice.one(ENDS[mood]))
            question = False
        text += "" if question else mark
        if dice.chance(0.12 if mood != PLAIN else 0.25):
            text += " " + self.fill("{link}")
        if dice.chance(0.13):
            text += " " + tag
        return text

    def address(self, text: str) -> str:
        """Put one to three mentions into a text."""
        dice = self.dice
        count = 1 + dice.weighted([84, 95, 100])
        names = self.mentions(count)
        between = dice.one([" ", " ", " &amp; ", " and "]) if count == 2 else " "
        joined = between.join(names)
        shape = dice.random()
        if shape < 0.56:
            return f"{joined} {text}"
        if shape < 0.66:
            return f"{joined}{dice.one([':', ':', ',', '!', ' -', '...'])} {text}"
        if shape < 0.70:
            return f".{joined} {text}"
        if shape < 0.82:
            return f"{text} {dice.one(['cc', '/cc', 'with', 'via', 'w/'])} {joined}"
        if shape < 0.92:
            return f"{text} {joined}{dice.one(['', '', '!', '?!', '.'])}"
        return f"{text} ({dice.one(['via', 'thanks', 'hi'])} {joined})"

    def fresh(self) -> tuple[str, str]:
        """A new text and its mood."""
        dice, author = self.dice, self.author
        self.filled.clear()
        mood = (GOOD, BAD, PLAIN)[dice.weighted([44, 87, 100])]
        kind = dice.random()
        if kind < 0.13:
            a, b = self.mentions(2)
            text = self.fill(dice.one(TALK[mood])).replace(" & ", " &amp; ")
            text = self.style(text.replace("{a}", a).replace("{b}", b), author)
        else:
            text = self.style(self.sentence(mood).replace(" & ", " &amp; "), author)
            if kind < 0.51:
                text = self.address(text)
        if dice.chance(author.faces):
            text += " " + dice.one(FACES[mood])
        return text, mood

    def tweet(self) -> tuple[Author, str, str]:
        """An author, a text of at most 140 characters, its mood."""
        dice = self.dice
        self.author = self.authors[dice.weighted(self.activity)]
        while True:
            if self.sent_on and dice.chance(0.035):
                text, mood = dice.one(self.sent_on[-6:])
            else:
                text, mood = self.fresh()
                source = self.mention()
                if dice.chance(0.012) and source.lower() not in text.lower():
                    text = f"RT {source}: {text}"
                    self.sent_on.append((text, mood))
            if len(text) <= LONGEST:
                return self.author, text, mood


def files() -> dict[str, str]:
    """The text of every file, by name."""
    dice = Dice(20090406)
    writer = Writer(dice)
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    made = {}
    for day in DAYS:
        midnight = datetime(day.year, day.month, day.day, tzinfo=timezone(timedelta(hours=-7)))
        seconds = sorted(dice.below(86_400) for _ in range(TWEETS_PER_DAY))
        lines = []
        for second in seconds:
            author, text, mood = writer.tweet()
            local = timezone(timedelta(hours=ZONES[author.zone]))
            at = (midnight + timedelta(seconds=second)).astimezone(local)
            when = f"{at:%a %b %d %H:%M:%S} {author.zone} {at.year}"
            lines.append(encode({"date": when, "user": author.name, "text": text,
                                 "sentiment": mood}))
        made[f"tweets-{day:%Y-%m-%d}.json"] = "\n".join(lines) + "\n"
    return made


def main() -> None:
    args = sys.argv[1:]
    check = "--check" in args
    args = [arg for arg in args if arg != "--check"]
    if len(args) > 1 or any(arg.startswith("-") for arg in args):
        sys.exit(__doc__)
    folder = Path(args[0]) if args else DIR
    made = {name: text.encode() for name, text in files().items()}
    if check:
        there = {file.name: file.read_bytes() for file in folder.iterdir()}
        if there != made:
            wrong = [name for name in sorted(there.keys() | made.keys())
                     if there.get(name) != made.get(name)]
            sys.exit(f"{folder}: not what the generator makes: {', '.join(wrong)}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in made.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
