"""The commonest words, and the further letters, of languages in Latin letters.

Function words (articles, pronouns, prepositions, forms of to be) make up a third of running text
in every language, so a few dozen of them, and letters that a language does not have, tell it from
its neighbours well enough to drop a sentence; text without any (names, code, headings) is left
alone.
"""

from __future__ import annotations

FUNCTION_WORDS: dict[str, str] = {
    "en": """the of and to in a is that for it as was with be by on not he i this are or his from at
        which but have an had they you were their one all we can her has there been if more when
        will would who so no what she do up out my about into than them only some could these its
        then two any your just our how did may also after over such most other those like me him us
        where why does should because while use using used new see get set add""",
    "cs": """je na se že ve který která které jsou jako byl byla bylo ale aby tak při podle nebo pro
        jsem jeho jen může mezi také jejich však přes ještě když až a i o s v k z do za po od to co
        mi my ho""",
    "de": """der das und ist nicht von zu mit ein eine auf für dem sich auch im wird sind wurde
        werden einen einer einem eines aus bei nach wie aber oder wenn nur noch über dass daß haben
        ich wir sie es vom zum zur durch gegen unter zwischen kann den des die in an war man hat was
        will so am her all er mir als bis bevor diese dieser dieses doch hatte heute hier ihr ihre
        immer ihn ihm jetzt konnte ohne schon sehr sein seine seit uns waren weil wieder""",
    "es": """la el los las de del que en un una por con para es su al lo como más pero sus se este
        esta fue está entre cuando muy sobre también hasta donde desde nos durante porque él ella a
        no me y o ser son sin hay todo era eso esa así cada había mi nosotros otro otra poco puede
        quien si tan tiene todos ya""",
    "fr": """le les des du et est dans qui pas au avec ne ce il elle sont la de en un une que sur se
        ont aux cette ces ses été être fait mais nous vous leur sous était deux même aussi dont où
        je a on me plus par pour son ton y tu avait avant bien chez comme donc encore elles fut ils
        jusque lors mes notre peut quand quelques sa sans si tous toute très""",
    "id": """yang dan dengan untuk dari tidak ini itu dalam adalah pada akan oleh sebagai juga atau
        karena telah lebih bisa dapat mereka kami saya anda sudah kita tersebut di ke""",
    "it": """di che è della sono gli dei nel alla più anche il un una la le lo del con si dal delle
        dalla nella suo sua questo questa cui degli alle loro quando a e i o in per non come ai al
        da ma ha ho ed era mi ti ben chi dopo due essere fino hanno invece ogni poi può prima se
        senza solo stato sui sul tutti tutto un'altra""",
    "nl": """het een dat niet zijn voor ook aan de en ik je we er maar om bij naar uit deze wordt
        worden heeft hebben werd nog wel geen in is was of van te door met op die dan al hem had
        over dit ze kan alleen alle andere haar hebt hij hun jij meer moet mijn nu onder ons onze
        tegen toch tot tussen veel wat wie zal zich zij zo zou""",
    "pl": """jest się nie że jak na dla przez przy oraz ale czy tak był była było są może który
        która które tylko jako już ich przed a i o u w z do to od po za co by my go""",
    "pt": """não uma na ao mais foi são um de da do que para por se mas pelo pela das nos nas ele
        ela seu sua ou muito já está também só até isso entre em os com dos como a o e as no me era
        ser quando depois elas eles esta este foram há lhe meu minha nem num numa pode porque quem
        sem seus suas têm tem""",
    "tr": """ve bir bu için ile olarak çok olan gibi kadar sonra olduğu değil ama tarafından göre da
        daha ne her en mi ya o""",
    "vi": """và của là không có cho được những các người trong này với một đã khi từ như để đến tôi
        cũng về nhiều vào sẽ phải trên năm ra to do an in tin hai ba""",
    # Languages that no pair is made of, but that stray into corpora.
    "sv": "och att det som på av är inte ett",
    "da": "af er til ikke og",
}
"""Function words by language code."""

AMBIGUOUS_WORDS = """
ai am an as at aux ben by chi co com come con dan del die do dont door dos due ed em en er era es
go ha had hat he hem her him ho hot hun in is man mas me mes met mi my no non nu num numa of on
ons op or os over par para per plus po pour pro sans se si sin so solo son tan te ten tin to todo
ton tot un us van war was we will za ze
"""
"""Those of one language that are words, names or abbreviations in many, and therefore, like single
letters, no sign of a language that a text should not be in."""

FURTHER_LETTERS: dict[str, str] = {
    "cs": "áčďéěíňóřšťúůýž",
    "de": "äöüßé",
    "es": "áéíñóúü",
    "fr": "àâæçèéêëîïôœùûüÿ",
    "id": "é",
    "it": "àèéìíîòóùú",
    "nl": "áèéëïíóöüú",
    "pl": "ąćęłńóśźż",
    "pt": "àáâãçéêíòóôõúü",
    "tr": "âçğıîöşûüİ",
    "vi": ("àáâãèéêìíòóôõùúýăđĩũơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ"),
}
"""Letters beyond A to Z that a language is written with."""
