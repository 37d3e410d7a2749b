"""Words that are no concept, by language: function words, and what everybody says in a conversation.
Not here: finding concepts (key_phrases)."""

from __future__ import annotations

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
ENGLISH, POLISH = frozenset(_ENGLISH.split()), frozenset(_POLISH.split())
