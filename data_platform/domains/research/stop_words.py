"""Words that are no concept, by language: function words, and what everybody says in a conversation.
Not here: finding concepts (key_phrases)."""

from __future__ import annotations

from collections.abc import Collection

_ENGLISH = """
a about above after again against ain't all almost already also although always am an and any anybody anyone
anything are aren't around as at away back be because been before being below better between both but by came can
can't cannot come comes could couldn't did didn't do does doesn't doing don't done down during each either else
enough even ever every everybody everyone everything feel feels few find for from further gave get gets getting give
gives go goes going gone got had hadn't has hasn't have haven't having he he'd he'll he's hello her here here's hers
herself hey him himself his how how's however i i'd i'll i'm i've if in instead into is isn't it it'd it'll it's its
itself just keep kind know knows least less let let's like likes little long look looks lot lots made make makes
making many matter matters may maybe me mean means might mine more most much must my myself need needs never no
nobody none nor not nothing now of off often oh ok okay on once one ones only or other others ought our ours
ourselves out over own perhaps please put quite rather really right said same saw say saying says see seem seems
seen shall she she'd she'll she's should shouldn't since so some somebody someone something sometimes still such
sure take takes than thank thanks that that's the their theirs them themselves then there there's these they they'd
they'll they're they've thing things think thinks this those though through till to together told too took toward
towards try under until up upon us use used uses very want wants was wasn't way we we'd we'll we're we've well went
were weren't what what's when when's where where's whether which while who who's whole whom whose why why's will
with within without won't would wouldn't yeah yes yet you you'd you'll you're you've your yours yourself yourselves
"""
_GERMAN = """
ab aber ach alle allem allen aller alles als also am an andere anderem anderen anderer anderes auch auf aus außerdem
bei beide beiden beim bereits besser bin bis bisher bist bloß brauche brauchen da dabei dadurch dafür dagegen daher
damals damit danach dann daran darauf daraus darf darin darüber darum das dass davon davor dazu dein deine deinem
deinen deiner dem den denen denke denken denn dennoch der deren des deshalb dessen desto deswegen dich die dies diese
diesem diesen dieser dieses dir doch dort drin du durch durchaus dürfen eben ebenso echt egal eher eigentlich ein eine
einem einen einer eines einfach einige einigen einiger einiges einmal er es etwa etwas euch euer eure fast finde
finden für ganz gar gegen genau gern gerne gewesen gibt ging glaube gut hab habe haben halt hat hatte hatten hätte
hätten her hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im immer in ins irgendwie ist ja je jede jedem
jeden jeder jedes jedoch jemand jetzt kann kannst kaum kein keine keinem keinen keiner klar kommt könnte könnten
können leider lieber mach mache machen macht mag mal man manche manchmal mehr mein meine meinem meinen meiner mich mir
mit möchte möchten mögen muss müssen musste nach nachdem nämlich natürlich neben nein nicht nichts nie niemand noch
nun nur ob obwohl oder oft ohne sage sagen sagt schon sehe sehen sehr sei seid sein seine seinem seinen seiner seit
selbst sich sicher sie sind so sodass sogar solche sollen sollte sollten sondern sonst soweit sowie tun über überhaupt
um und uns unser unsere unserem unseren unserer unter viel viele vielen vielleicht vom von vor während wann war waren
wäre wären warum was weder weg wegen weil weiß weiter welche welchem welchen welcher welches wem wen wenig weniger
wenn wer werde werden wessen wie wieder will wir wird wirklich wo wohl wollen wollte worden wurde wurden würde würden
zu zum zur zwar zwischen
"""
_POLISH = """
a aby ach albo ale ależ ani aż bardziej bardzo bez bo bowiem by byli bym być był była byłaby byłby było byłoby były
będzie będą będę chce chcę chociaż choć ci ciebie cię co cokolwiek coś czasem czemu czy czyli często dla dlaczego
dlatego do dobrze dokąd dość dużo dwa dwie dzięki dziś gdy gdyby gdyż gdzie go i ich ile im inna inne inny iż ja jak
jaka jakaś jaki jakie jakiś jako jakoś je jeden jedna jednak jednakże jedno jego jej jemu jest jestem jesteś
jesteśmy jeszcze jeśli jeżeli już każda każde każdy kiedy kilka kimś kto ktoś która które którego której który
których którym którzy ku lecz lub ma mają mam mamy mi miał miała mieć mimo mnie mną mogą mogę moi moim moja moje
może można mu musi muszę my myślę mój mówi mówię na nad nam nami nas nasi nasz nasza nasze natomiast nawet nic nich
nie niech niego niej niemu nigdy nim nimi nią niż no o obok od około on ona one oni ono oraz po pod podczas ponad
ponieważ potem powinien powinna powinno poza prawie przecież przed przede przez przy raczej raz razem sam sama same
się skąd sobie sobą swoje swój są ta tak taka taki takich takie takim także tam te tego tej ten teraz też to tobie
tobą toteż trochę tu tutaj twoi twoja twoje twój ty tych tylko tym u w wam wami was wasz wasza wasze we według wiele
wiem więc więcej wszyscy wszystkich wszystkie wszystkim wszystko właśnie z za zanim zapewne zawsze ze znowu znów
zresztą żaden żadna żadne że żeby
"""
STOP_WORDS = {"de": frozenset(_GERMAN.split()), "en": frozenset(_ENGLISH.split()), "pl": frozenset(_POLISH.split())}
"""By language (ISO 639-1)."""


def stop_words_of(words: Collection[str]) -> frozenset[str]:
    """The stop words of the language of these words, in small letters: that of whose stop words most are among them; of
    several with as many all theirs; none where no word is one."""
    counts = {language: sum(word in stops for word in words) for language, stops in STOP_WORDS.items()}
    most = max(counts.values())
    return frozenset().union(*(STOP_WORDS[language] for language, count in counts.items() if count == most > 0))
