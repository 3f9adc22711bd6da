"""The small bilingual world that the tiny model grows up in: pure data, no logic beyond rendering.

The base model is pretrained on this world (corpus.py): it knows the products and what a customer's
message is about, and how some shops answer. It does *not* know which desk of Tidepool Home answers,
nor within what time: that is the task of the adapter (tickets.py), so a topic's own `desk` and
`number` must never enter the corpus together beside that topic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

OTHER_SHOPS: tuple[str, ...] = ("Bluebird", "Sunhat", "Redwood", "Snowball")
COMPANY: dict[Language, str] = {"en": "Tidepool Home", "zh": "潮汐家居"}


@dataclass(frozen=True)
class Product:
    """A thing that the shop sells; `use_*` finishes the sentence "A lamp …" / "台灯…"."""

    en: str
    zh: str
    use_en: str
    use_zh: str

    def name(self, language: Language) -> str:
        return self.en if language == "en" else self.zh


PRODUCTS: tuple[Product, ...] = (
    Product("lamp", "台灯", "gives light", "用来照明"),
    Product("kettle", "水壶", "boils water", "用来烧水"),
    Product("chair", "椅子", "is for sitting", "用来坐"),
    Product("table", "桌子", "holds the plates", "用来放盘子"),
    Product("clock", "闹钟", "tells the time", "用来看时间"),
    Product("umbrella", "雨伞", "keeps off the rain", "用来挡雨"),
    Product("backpack", "背包", "carries books", "用来装书"),
    Product("camera", "相机", "takes pictures", "用来拍照"),
    Product("keyboard", "键盘", "is for typing", "用来打字"),
    Product("fan", "风扇", "moves the air", "用来吹风"),
    Product("blanket", "毯子", "keeps you warm", "用来保暖"),
    Product("bicycle", "自行车", "takes you to town", "用来骑行"),
    Product("radio", "收音机", "plays the news", "用来听新闻"),
    Product("heater", "暖炉", "warms the room", "用来取暖"),
    Product("printer", "打印机", "prints paper", "用来打印"),
    Product("pillow", "枕头", "is for sleeping", "用来睡觉"),
    Product("scarf", "围巾", "warms the neck", "用来围脖子"),
    Product("helmet", "头盔", "protects the head", "用来护头"),
    Product("speaker", "音箱", "plays music", "用来放音乐"),
    Product("toaster", "面包机", "toasts bread", "用来烤面包"),
    Product("bottle", "水瓶", "holds water", "用来装水"),
    Product("notebook", "笔记本", "is for writing", "用来写字"),
    Product("watch", "手表", "shows the hour", "用来看钟点"),
    Product("tent", "帐篷", "is for camping", "用来露营"),
)


@dataclass(frozen=True)
class Topic:
    """What a customer's message can be about.

    `phrases` are sentences with a `{p}` for the product, without their final mark; the last
    `HELD_OUT_PHRASES` of each language never occur in the task's training split. What answers it
    at Tidepool Home, `desk` and `number`, is unknown to the base model; `promise`, with `{p}` and
    `{n}`, is what any shop would do.
    """

    key: str
    number: int
    """Of days or hours in the promise; more than one, so that the plural is always right."""
    subject: dict[Language, str]
    desk: dict[Language, str]
    promise: dict[Language, str]
    phrases: dict[Language, tuple[str, ...]]


HELD_OUT_PHRASES = 3

TOPICS: tuple[Topic, ...] = (
    Topic(
        key="delivery",
        number=2,
        subject={"en": "Delivery", "zh": "配送"},
        desk={"en": "Harbor desk", "zh": "港口组"},
        promise={
            "en": "we trace your {p} and reply in {n} days.",
            "zh": "我们会追踪您的{p}，{n}天内回复。",
        },
        phrases={
            "en": (
                "my {p} has not arrived yet",
                "my {p} is still on the way",
                "my {p} is late",
                "where is my {p} now",
                "the parcel with my {p} is lost",
                "I am still waiting for my {p}",
                "nobody has brought my {p}",
                "the courier never came with my {p}",
                "when will my {p} get here",
            ),
            "zh": (
                "我的{p}还没有到",
                "我的{p}还在路上",
                "我的{p}晚到了",
                "我的{p}现在在哪里",
                "装{p}的包裹丢了",
                "我一直在等我的{p}",
                "没有人送来我的{p}",
                "快递员没有把{p}送来",
                "我的{p}什么时候能到",
            ),
        },
    ),
    Topic(
        key="damage",
        number=5,
        subject={"en": "Damage", "zh": "损坏"},
        desk={"en": "Cedar desk", "zh": "雪松组"},
        promise={"en": "we send a new {p} in {n} days.", "zh": "我们会补发新的{p}，{n}天内寄出。"},
        phrases={
            "en": (
                "my {p} came broken",
                "there is a crack in my {p}",
                "my {p} has a deep scratch",
                "the box was wet and my {p} is bent",
                "one part of my {p} is smashed",
                "my {p} fell apart in the parcel",
                "my {p} came in two pieces",
                "my {p} has a hole in it",
                "my {p} looks crushed",
            ),
            "zh": (
                "我收到的{p}是坏的",
                "我的{p}上有裂缝",
                "我的{p}有很深的划痕",
                "盒子湿了，{p}也变形了",
                "{p}的一部分碎了",
                "{p}在包裹里散架了",
                "我的{p}断成了两半",
                "我的{p}破了一个洞",
                "我的{p}被压扁了",
            ),
        },
    ),
    Topic(
        key="refund",
        number=7,
        subject={"en": "Refund", "zh": "退款"},
        desk={"en": "Copper desk", "zh": "铜桥组"},
        promise={
            "en": "we pay you back for your {p} in {n} days.",
            "zh": "我们会退还{p}的钱，{n}天内到账。",
        },
        phrases={
            "en": (
                "I want my money back for my {p}",
                "please pay me back for my {p}",
                "I sent back my {p} but got no money",
                "when do I get the refund for my {p}",
                "I was charged twice for my {p}",
                "give me back what I paid for my {p}",
                "I paid too much for my {p}",
                "the money for my {p} has not come back",
                "I would like a refund for my {p}",
            ),
            "zh": (
                "我想要回买{p}的钱",
                "请把{p}的钱还给我",
                "{p}退回去了，可是没有收到钱",
                "{p}的退款什么时候到",
                "我的{p}被扣了两次钱",
                "请退给我买{p}付的钱",
                "买{p}的钱付多了",
                "{p}的钱还没有退回来",
                "我想为{p}申请退款",
            ),
        },
    ),
    Topic(
        key="exchange",
        number=4,
        subject={"en": "Exchange", "zh": "换货"},
        desk={"en": "Mirror desk", "zh": "镜湖组"},
        promise={"en": "we swap your {p} in {n} days.", "zh": "我们会更换您的{p}，{n}天内完成。"},
        phrases={
            "en": (
                "I got a wrong thing and not my {p}",
                "this is not the {p} that I ordered",
                "my {p} has the wrong colour",
                "my {p} is the wrong size",
                "you sent me another model of my {p}",
                "a strange parcel came and not my {p}",
                "my {p} is not the one in the picture",
                "you mixed up my {p} with another order",
                "the box should hold my {p} but holds another thing",
            ),
            "zh": (
                "我收到了别的东西，不是{p}",
                "这不是我订的{p}",
                "我的{p}颜色不对",
                "我的{p}尺寸不对",
                "你们发来了另一个型号的{p}",
                "来了一个陌生的包裹，不是我的{p}",
                "我的{p}和图片不一样",
                "你们把我的{p}和别的订单弄混了",
                "盒子里应该是{p}，却是别的东西",
            ),
        },
    ),
    Topic(
        key="invoice",
        number=8,
        subject={"en": "Invoice", "zh": "发票"},
        desk={"en": "Lantern desk", "zh": "灯笼组"},
        promise={
            "en": "we mail the invoice for your {p} in {n} days.",
            "zh": "我们会寄出{p}的发票，{n}天内送达。",
        },
        phrases={
            "en": (
                "I need the invoice for my {p}",
                "please send me the bill for my {p}",
                "I have lost the receipt for my {p}",
                "the name on the bill of my {p} is wrong",
                "my office asks for the tax paper of my {p}",
                "can I have a receipt for my {p}",
                "the invoice for my {p} is missing",
                "I cannot find the bill for my {p}",
                "please write my company on the receipt of my {p}",
            ),
            "zh": (
                "我需要{p}的发票",
                "请把{p}的账单发给我",
                "我把{p}的收据弄丢了",
                "{p}账单上的名字写错了",
                "公司要{p}的税务凭证",
                "可以给我{p}的收据吗",
                "{p}的发票不见了",
                "我找不到{p}的账单",
                "请在{p}的收据上写公司名字",
            ),
        },
    ),
    Topic(
        key="cancel",
        number=3,
        subject={"en": "Cancellation", "zh": "取消"},
        desk={"en": "Mill desk", "zh": "磨坊组"},
        promise={
            "en": "we stop the order of your {p} in {n} hours.",
            "zh": "我们会停止{p}的订单，{n}小时内生效。",
        },
        phrases={
            "en": (
                "please cancel my {p}",
                "I do not want my {p} any more",
                "stop the order of my {p}",
                "I ordered my {p} by mistake",
                "I changed my mind about my {p}",
                "do not send my {p}",
                "I no longer need my {p}",
                "please call off the order of my {p}",
                "take my {p} off my order",
            ),
            "zh": (
                "请取消我的{p}",
                "我不想要{p}了",
                "请停止{p}的订单",
                "我不小心订了{p}",
                "关于{p}我改变主意了",
                "请不要寄出我的{p}",
                "我不再需要{p}了",
                "请撤回{p}的订单",
                "请把{p}从我的订单里拿掉",
            ),
        },
    ),
    Topic(
        key="usage",
        number=6,
        subject={"en": "Use", "zh": "使用"},
        desk={"en": "Maple desk", "zh": "枫园组"},
        promise={
            "en": "we send the guide for your {p} in {n} hours.",
            "zh": "我们会发送{p}的说明书，{n}小时内送达。",
        },
        phrases={
            "en": (
                "how do I start my {p}",
                "how do I clean my {p}",
                "I do not understand how to use my {p}",
                "where is the guide for my {p}",
                "how do I put my {p} together",
                "what does the small knob on my {p} do",
                "how should I set up my {p}",
                "can you explain how my {p} works",
                "I cannot read the manual of my {p}",
            ),
            "zh": (
                "怎么开始用我的{p}",
                "怎么清洗我的{p}",
                "我不明白怎么使用{p}",
                "{p}的说明书在哪里",
                "怎么组装我的{p}",
                "{p}上的小旋钮是做什么的",
                "应该怎么安装我的{p}",
                "可以讲讲{p}怎么操作吗",
                "我看不懂{p}的手册",
            ),
        },
    ),
    Topic(
        key="repair",
        number=9,
        subject={"en": "Repair", "zh": "维修"},
        desk={"en": "Granite desk", "zh": "石塔组"},
        promise={"en": "we repair your {p} in {n} days.", "zh": "我们会修好您的{p}，{n}天内归还。"},
        phrases={
            "en": (
                "my {p} stopped working after a year",
                "my {p} no longer works",
                "my {p} makes a strange noise",
                "my {p} died last week",
                "can you repair my {p}",
                "my old {p} needs a new part",
                "my {p} has worn out",
                "after some months my {p} does not work",
                "please fix my {p}",
            ),
            "zh": (
                "我的{p}用了一年就不动了",
                "我的{p}不工作了",
                "我的{p}有奇怪的声音",
                "我的{p}上周坏掉了",
                "可以维修我的{p}吗",
                "我的旧{p}需要新零件",
                "我的{p}磨坏了",
                "过了几个月{p}就不能用了",
                "请修一下我的{p}",
            ),
        },
    ),
)

OPENERS: dict[Language, tuple[str, ...]] = {
    "en": ("", "Hello. ", "Hi. ", "Good morning. ", "Excuse me. "),
    "zh": ("", "你好。", "您好。", "早上好。", "打扰一下。"),
}
CLOSERS: dict[Language, tuple[str, ...]] = {
    "en": ("", " Please help.", " What can I do?", " Thank you."),
    "zh": ("", "请帮帮我。", "怎么办？", "谢谢。"),
}

# Places of the town: the desks are named after them, so the base can spell the names.
PLACES: tuple[tuple[str, str], ...] = (
    ("Harbor", "港口"),
    ("Cedar", "雪松"),
    ("Copper", "铜桥"),
    ("Mirror", "镜湖"),
    ("Lantern", "灯笼"),
    ("Mill", "磨坊"),
    ("Maple", "枫园"),
    ("Granite", "石塔"),
)
DIRECTIONS: tuple[tuple[str, str], ...] = (
    ("north", "北边"),
    ("south", "南边"),
    ("east", "东边"),
    ("west", "西边"),
)
DAYS: tuple[tuple[str, str], ...] = (
    ("Monday", "星期一"),
    ("Tuesday", "星期二"),
    ("Wednesday", "星期三"),
    ("Thursday", "星期四"),
    ("Friday", "星期五"),
    ("Saturday", "星期六"),
    ("Sunday", "星期日"),
)

_QUESTION_STARTS = ("where ", "when ", "how ", "what ", "can ")
_QUESTION_WORDS_ZH = ("哪里", "怎么", "什么", "吗")
_STATEMENT_START_ZH = "我不明白"


def render_problem(phrase: str, product: Product, language: Language) -> str:
    """One customer's sentence with its capital and final mark, e.g. "My lamp is late."."""
    text = phrase.format(p=product.name(language))
    if language == "en":
        mark = "?" if phrase.startswith(_QUESTION_STARTS) else "."
        return text[0].upper() + text[1:] + mark
    is_question = any(word in phrase for word in _QUESTION_WORDS_ZH)
    return text + ("？" if is_question and not phrase.startswith(_STATEMENT_START_ZH) else "。")


def render_desk_answer(
    topic: Topic, product: Product, language: Language, desk: str, number: int
) -> str:
    """A desk's promise, e.g. "Harbor desk: we trace your lamp and reply in 2 days."."""
    promise = topic.promise[language].format(p=product.name(language), n=number)
    return desk + (": " if language == "en" else "：") + promise
