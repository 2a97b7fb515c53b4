"""Boilerplate of web pages: the words around the text that every page of a site repeats.

Navigation, buttons, consent and copyright lines are translated well and teach a translator nothing
but to say them again. A side is boilerplate as far as its letters are in phrases that stand on
web pages only, or in short phrases separated as menus are. Both sides must be: a sentence about a
newsletter stays.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from src.corpus.texts import Texts

# What only web pages say, in lower case; applications say it, too, where they show some.
_PAGE = {
    "en": (
        r"all rights reserved|copyright (?:©|\(c\))?(?: ?\d{4}(?: ?- ?\d{4})?)?|privacy policy"
        r"|terms of (?:use|service)|terms (?:and|&) conditions|cookie policy"
        r"|(?:we|this (?:web)?site) uses? cookies"
        r"|accept (?:all )?cookies|subscribe to (?:our|the) (?:newsletter|channel|feed)"
        r"|sign up for (?:our|the) newsletter|add to (?:cart|basket|wish ?list)|buy (?:it )?now"
        r"|free shipping|related (?:articles|posts|products|news|links|stories)|view all|read more"
        r"|click here(?: to [a-z]+)?|back to top|skip to (?:main )?content|site ?map"
        r"|share (?:this|on) (?:facebook|twitter|linkedin|whatsapp|weibo)|follow us(?: on [a-z]+)?"
        r"|leave a (?:comment|reply)|no comments(?: yet)?|(?:page )?views ?: ?\d+|comments ?: ?\d+"
        r"|hits ?: ?\d+|posted (?:by|on|in)|powered by [a-z]+|forgot(?:ten)? (?:your )?password"
        r"|previous (?:article|post)|next (?:article|post)|customers who bought this|in stock"
        r"|page \d+ of \d+|« prev(?:ious)?|next »|icp \d+|loading ?(?:\.\.\.|…)|^tags ?:.*"
        r"|posted by \w+ on [\d: -]+|report abuse|quote reply|reply quote"
    ),
    "zh": (
        r"版权所有|保留所有权利|使用条款|服务条款|隐私(?:政策|条款|声明)|(?:本|我们的)?网站使用cookies?"
        r"|接受(?:所有|全部)?cookies?|订阅(?:我们的|本)?(?:新闻通讯|通讯|时事通讯|电子报|频道)"
        r"|(?:加入|添加到|放入)购物车|立即(?:购买|下载|注册)|免(?:费)?运(?:费|送)|免费送货|包邮"
        r"|相关(?:文章|新闻|产品|链接|阅读|帖子|推荐)|查看(?:全部|所有|更多)|阅读(?:更多|全文)"
        r"|(?:请)?点击(?:这里|此处)|返回(?:顶部|首页)|回到顶部|网站地图|跳(?:到|至)(?:主要)?内容"
        r"|分享到(?:微博|微信|脸书)?|关注我们|发表(?:评论|回复)|暂无评论"
        r"|(?:浏览|点击|阅读|评论)(?:次数|量|数)?[：:] ?\d+"
        r"|忘记(?:了)?密码|上一篇(?:文章)?|下一篇(?:文章)?|有货|« 上一页"
        r"|第 ?\d+ ?页(?:，?共 ?\d+ ?页)?"
        r"|下一页 »|\w?icp备 ?\d+号?(?:-\d+)?|(?:正在)?加载中? ?(?:\.\.\.|…+)|^标签[：:].*"
        r"|由 ?\w+ ?发表于 ?[\d: -]+|回复 引用|引用 回复|全部接受"
    ),
}
_MENU = frozenset(
    """
    log in|login|log out|logout|sign in|sign up|sign out|register|home|news|sports|about|about us
    contact|contact us|products|services|support|help|faq|search|blog|careers|download|shop|cart
    checkout|my account|sitemap|site map|forgot password|privacy|terms|archives|forum|gallery
    登录|登入|退出|注销|注册|首页|主页|新闻|体育|关于|关于我们|联系|联系我们|产品|服务|支持|帮助|常见问题
    搜索|博客|招聘|下载|商店|购物车|结账|我的账户|网站地图|忘记密码|隐私|条款|归档|论坛|图库
    """.replace("\n", "|")
    .replace("    ", "")
    .split("|")
) - {""}
_SEPARATOR = r"[|>»›·•]"
_SPLIT = re.compile(_SEPARATOR)
_LEAST_MENU_ENTRIES = 3
# Addresses, code and names hold separators, too, but seldom an entry between two.
_AROUND = "[ ?!？！]"
_ENTRY = f"(?:^|{_SEPARATOR}){_AROUND}*(?:{'|'.join(sorted(_MENU))}){_AROUND}*(?:{_SEPARATOR}|$)"
_LONGEST_BYTES = 160


def boilerplate(left: Texts, right: Texts, languages: tuple[str, str]) -> NDArray[np.float32]:
    """`[N]` how much of each pair's less affected side is boilerplate, from 0 to 1.

    Languages whose phrases are not known leave the judgement to the other side; with none known
    nothing is boilerplate.
    """
    scores = np.zeros(len(left), np.float32)
    known = [
        (texts, language)
        for texts, language in zip((left, right), languages, strict=True)
        if language in _PAGE
    ]
    if not known:
        return scores
    # Nearly all pairs leave at the first two questions.
    short = np.flatnonzero(_is_short(left) & _is_short(right))
    either = {language: f"(?:{phrases})|{_ENTRY}" for language, phrases in _PAGE.items()}
    rows = _matching(short, known, either)
    for row in _matching(rows, known, _PAGE).tolist():
        scores[row] = min(_page_share(texts[row], language) for texts, language in known)
    for row in _matching(rows, known, dict.fromkeys(_PAGE, _ENTRY)).tolist():
        menu = min(_menu_share(texts[row]) for texts, _ in known)
        scores[row] = max(scores[row], menu)
    return scores


def _matching(
    rows: NDArray[np.int64], known: list[tuple[Texts, str]], patterns: dict[str, str]
) -> NDArray[np.int64]:
    """The rows whose every known side matches its language's pattern somewhere."""
    for texts, language in reversed(known):
        column = pc.ascii_lower(texts.take(rows).to_arrow())
        matches = pc.match_substring_regex(column, patterns[language])
        rows = rows[matches.to_numpy(zero_copy_only=False)]
    return rows


def _page_share(text: str, language: str) -> float:
    """Letters and digits in phrases of web pages among all of a text."""
    total = _letters(text)
    return 1 - _letters(_page(language).sub(" ", text.lower())) / total if total else 0.0


def _menu_share(text: str) -> float:
    """Letters and digits in menu entries among all of a text that holds at least three."""
    entries = [part.strip(_AROUND[1:-1]) for part in _SPLIT.split(text.lower())]
    found = [entry for entry in entries if entry in _MENU]
    if len(found) < _LEAST_MENU_ENTRIES:
        return 0.0
    return sum(map(_letters, found)) / max(1, _letters(text))


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _is_short(texts: Texts) -> NDArray[np.bool_]:
    return np.asarray(texts.offsets[1:] - texts.offsets[:-1] <= _LONGEST_BYTES)


@cache
def _page(language: str) -> re.Pattern[str]:
    return re.compile(_PAGE[language])
