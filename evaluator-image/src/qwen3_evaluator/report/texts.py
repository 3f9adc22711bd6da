"""The report's own words, in English and in simplified Chinese. Both are in the page; CSS shows
one. Markup in a text is ours; the values put into it are escaped."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from markupsafe import Markup


class Text(NamedTuple):
    """One text; {names} stand for values."""

    en: str
    zh: str


@dataclass(frozen=True)
class Phrase:
    """A text with the values that go into it."""

    key: str
    values: Mapping[str, object] = field(default_factory=dict)


def say(key: str, **values: object) -> Markup:
    """Both languages as two spans."""
    text = TEXTS[key]
    return Markup(
        '<span class="en" lang="en">{}</span><span class="zh" lang="zh-Hans">{}</span>'
    ).format(
        Markup(text.en).format(**values),  # noqa: S704  # ours; format escapes the values
        Markup(text.zh).format(**values),  # noqa: S704
    )


def say_phrase(phrase: Phrase) -> Markup:
    """Both languages of a phrase."""
    return say(phrase.key, **phrase.values)


def say_plain(key: str, **values: object) -> str:
    """Both languages as plain text, for attributes; not escaped."""
    text = TEXTS[key]
    return f"{text.en.format(**values)} / {text.zh.format(**values)}"


TEXTS: Mapping[str, Text] = {
    "evaluation": Text("Evaluation", "评测"),
    # Headline
    "Passed": Text("Passed", "通过"),
    "Failed": Text("Failed", "未通过"),
    "Inconclusive": Text("Inconclusive", "无定论"),
    "Completed": Text("Completed", "已完成"),
    "Error": Text("Not completed", "未能完成"),
    "lead_passed": Text("All {n} gates passed.", "全部 {n} 项门槛均已通过。"),
    "lead_passed_one": Text("The gate passed.", "门槛已通过。"),
    "lead_failed": Text("{k} of {n} gates failed.", "{n} 项门槛中有 {k} 项未通过。"),
    "lead_inconclusive": Text(
        "The data can’t decide {k} of {n} gates; none failed.",
        "{n} 项门槛中有 {k} 项数据不足以判断；没有未通过的门槛。",
    ),
    "lead_completed": Text(
        "No gates were set: the figures are for you to judge.", "未设置门槛：结果由您判断。"
    ),
    "lead_error": Text(
        "The evaluation ended before there were results.", "评测在得出结果之前结束。"
    ),
    "reason": Text("Reason", "原因"),
    "message": Text("Message", "说明"),
    "hint": Text("What helps", "解决办法"),
    "fact_model": Text("Target", "被测模型"),
    "fact_questions": Text("Questions", "题目数"),
    "fact_baselines": Text("Compared with", "对比模型"),
    "fact_finished": Text("Finished", "完成时间"),
    "none": Text("none", "无"),
    "nav": Text("Contents", "目录"),
    # Gates
    "gates": Text("Gates", "门槛"),
    "gates_note": Text(
        "A gate is decided by the one-sided bound of its estimate, not by the estimate. The line "
        "runs from the lower to the upper bound. Dashed: what the lower (of a maximum, the upper) "
        "bound must reach; grey: the smallest improvement worth having.",
        "门槛由估计值的单侧置信界决定，而不是由估计值本身决定。线段为下界到上界。"
        "虚线：下界（对上限门槛为上界）须达到的值；灰线：有意义的最小改进。",
    ),
    "gate_minimum": Text(
        "{metric} on {suite} at least {bound}", "{suite} 的 {metric} 不低于 {bound}"
    ),
    "gate_maximum": Text(
        "{metric} on {suite} at most {bound}", "{suite} 的 {metric} 不高于 {bound}"
    ),
    "gate_max_regression": Text(
        "{metric} on {suite} at most {bound} worse than {baseline}",
        "{suite} 的 {metric} 比 {baseline} 最多差 {bound}",
    ),
    "gate_minimum_effect": Text(
        "{metric} on {suite} better than {baseline}; {bound} is the least that counts",
        "{suite} 的 {metric} 优于 {baseline}；有意义的最小改进为 {bound}",
    ),
    "gate_confidence": Text("{percent} %, one-sided", "{percent} %，单侧"),
    "estimate": Text("Estimate", "估计值"),
    "improvement": Text("Improvement", "改进"),
    "bounds": Text("Bounds", "置信界"),
    "questions": Text("Questions", "题目"),
    "needed": Text("Questions that would be enough", "可判断所需题目数"),
    # Scores
    "scores": Text("Scores", "得分"),
    "scores_note": Text(
        "Dots are estimates, lines are two-sided 95 % confidence intervals over the questions.",
        "圆点为估计值，线段为按题目计算的双侧 95 % 置信区间。",
    ),
    "unit_score": Text("share of 1, more is better", "0 到 1，越高越好"),
    "unit_weave": Text(
        "by this class of weave.scorers: 1 for true, 0 for false, more is better",
        "由 weave.scorers 的同名类判定：真为 1，假为 0，越高越好",
    ),
    "unit_loss": Text("nats per answer token, less is better", "每个答案词元的奈特数，越低越好"),
    "unit_win": Text("share of pairs won, 0.5 is a tie", "两两对比的胜率，0.5 为平局"),
    "win_over": Text("{model} over {baseline}", "{model} 对 {baseline}"),
    "metrics": Text("Metrics", "指标"),
    "model": Text("Model", "模型"),
    "values": Text("Values", "数值"),
    "value_interval": Text("Value [95 % interval]", "数值 [95 % 区间]"),
    "n": Text("n", "题数"),
    "differences": Text("Differences over the same questions, in pairs", "同题配对差异"),
    "differences_note": Text(
        "Target minus baseline. p: two-sided, of no difference (McNemar’s exact test for scores "
        "of 0 and 1, else bootstrap), not corrected for the number of rows.",
        "被测模型减去对比模型。p 为“无差异”的双侧检验（0/1 得分用 McNemar 精确检验，"
        "否则用自助法），未按行数校正。",
    ),
    "against": Text("Against", "对比"),
    "delta_interval": Text("Difference [95 % interval]", "差值 [95 % 区间]"),
    "better_worse": Text("Better : worse", "更好 : 更差"),
    # Changes
    "changes": Text("What got better, what got worse", "变好与变差的题目"),
    "changes_against": Text(
        "{suite}: {target} against {baseline}", "{suite}：{target} 对 {baseline}"
    ),
    "changes_note": Text(
        "{metric} of {baseline} → {target}, largest change first. "
        "Questions with no change: {same}.",
        "{baseline} → {target} 的 {metric}，变化最大者在前。无变化的题目：{same}。",
    ),
    "worse": Text("Worse: {n}", "变差：{n}"),
    "better": Text("Better: {n}", "变好：{n}"),
    "lowest_scores": Text("Lowest scores", "得分最低的题目"),
    "lowest_note": Text(
        "There is no baseline to compare with. By {metric}, lowest first.",
        "没有可对比的模型。按 {metric} 从低到高。",
    ),
    "lowest_title": Text("Of {n} questions", "共 {n} 题"),
    "left_out": Text(
        "Not shown: {n}. All are in samples.jsonl.",
        "未显示：{n} 题，全部见 samples.jsonl。",
    ),
    "nothing": Text("None.", "没有。"),
    "line": Text("line {n}", "第 {n} 行"),
    "sample_of": Text("sample {k}, one of {n}", "sample {k}，共 {n} 个回答"),
    "question": Text("Question", "问题"),
    "expected": Text("Expected", "参考答案"),
    "not_asked": Text("No answer was needed.", "无需作答。"),
    "blank": Text("Blank answer.", "空回答。"),
    "thought": Text("Thinking ({n} characters)", "思考过程（{n} 字符）"),
    "clipped": Text("… {n} more characters in samples.jsonl", "…… 另有 {n} 字符，见 samples.jsonl"),
    "opinions_pair": Text("Judges on the pair", "评审对这一对回答的意见"),
    "opinion_target": Text("prefers {model}", "更认可 {model}"),
    "opinion_tie": Text("a tie", "平局"),
    # Heat map
    "heat": Text("Errors by category", "按类别的错误"),
    "heat_note": Text(
        "Per cent of what could have been scored and was not; the stronger the colour the worse. "
        "Of few questions a share says little: look at n.",
        "未得到的分数所占百分比，颜色越浓越差。题目少时百分比意义不大，请看题数。",
    ),
    "heat_wrong": Text("{suite}: wrong answers ({metric})", "{suite}：错误回答（{metric}）"),
    "heat_missed": Text("{suite}: 1 − mean {metric}", "{suite}：1 − 平均 {metric}"),
    "category": Text("Category", "类别"),
    "no_category": Text("without category", "无类别"),
    "other_categories": Text("{n} smaller categories", "其余 {n} 个较小类别"),
    "all_categories": Text("All", "全部"),
    # Distributions
    "thinking": Text("Length of thinking", "思考长度"),
    "thinking_note": Text(
        "Characters of reasoning per answer, of the answers that have any; the line is the median.",
        "每个回答思考过程的字符数（仅统计有思考过程的回答）；竖线为中位数。",
    ),
    "thinking_axis": Text("characters", "字符"),
    "thinking_of": Text(
        "{n} of {all} answers · median {median} · 90 % below {p90} · longest {longest}",
        "{all} 个回答中的 {n} 个 · 中位数 {median} · 90 % 低于 {p90} · 最长 {longest}",
    ),
    "loss": Text("AssistantLoss per question", "每题的 AssistantLoss"),
    "loss_note": Text(
        "Nats per token of the expected answer, less is better; the line is the median. The value "
        "under Scores weighs a question by its tokens.",
        "参考答案每个词元的奈特数，越低越好；竖线为中位数。“得分”中的数值按词元数加权。",
    ),
    "loss_axis": Text("nats per token", "奈特/词元"),
    "loss_of": Text(
        "{n} questions · median {median} · 90 % below {p90} · highest {longest}",
        "{n} 题 · 中位数 {median} · 90 % 低于 {p90} · 最高 {longest}",
    ),
    "bar_height": Text("tallest bar: {percent} %", "最高的柱：{percent} %"),
    # Training
    "training": Text("Training of the target", "被测模型的训练"),
    "training_note": Text(
        "Revision {revision}, by its COMMIT.json and the log in its last checkpoint. "
        "Cross-entropy in nats per token (DPO: its own loss).",
        "修订 {revision}，取自其 COMMIT.json 与最后一个检查点中的日志。"
        "交叉熵，单位奈特/词元（DPO 为其自身的损失）。",
    ),
    "training_steps": Text("Steps", "步数"),
    "training_epochs": Text("Epochs", "轮数"),
    "training_tokens": Text("Tokens", "词元数"),
    "training_rows": Text("Rows", "数据行数"),
    "training_loss": Text("Final training loss", "最终训练损失"),
    "training_eval_loss": Text("Validation loss", "验证损失"),
    "training_gpu": Text("GPU time", "GPU 时间"),
    "training_cost": Text("Cost, by the platform’s prices", "费用（按平台价目）"),
    "curve_loss": Text("training", "训练"),
    "curve_eval_loss": Text("validation", "验证"),
    "curve_last": Text("last {last}, lowest {lowest}", "最后 {last}，最低 {lowest}"),
    "curve_best": Text(
        "The dashed line is the step whose weights are the adapter.",
        "虚线为适配器权重所在的步。",
    ),
    "curve_axis": Text("step", "步"),
    # Tokens
    "usage": Text("Tokens asked and judged", "提问与评审的词元"),
    "usage_note": Text(
        "As the servers counted them, of the requests that an answer came from.",
        "以各服务器的计数为准，仅计有回复的请求。",
    ),
    "usage_judges": Text("judges", "评审"),
    "links": Text("Also at", "另见"),
    # Judges
    "judge": Text("Judges", "评审用量"),
    "judge_requests": Text("Requests", "请求数"),
    "judge_prompt": Text("Prompt tokens", "输入词元"),
    "judge_completion": Text("Completion tokens", "输出词元"),
    "judge_cost": Text("Cost, by the judges’ prices", "费用（按评审价格）"),
    "judge_unreadable": Text("Unreadable verdicts, asked again", "无法解读而重问的回复"),
    "judge_disagreements": Text(
        "Pairs on which two orders or two judges disagreed", "两种顺序或两位评审意见不一的配对"
    ),
    # Provenance
    "provenance": Text("Where the figures come from", "数据来源"),
    "trace": Text(
        "Every figure is computed from samples.jsonl beside this file: a line per suite, model, "
        "line of the data and sample. To see everything about one question:",
        "所有数值均由同一目录的 samples.jsonl 算出：每个评测集、模型、数据行和回答各占一行。"
        "查看某一题的全部内容：",
    ),
    "resource": Text("Evaluation", "评测"),
    "folder": Text("Folder", "目录"),
    "started": Text("Started", "开始时间"),
    "finished": Text("Finished", "完成时间"),
    "versions": Text("Versions", "版本"),
    "models": Text("Models", "模型"),
    "suite": Text("Suite", "评测集"),
    "data": Text("Data", "数据"),
    "sha256": Text("SHA-256 of the data as read", "所读数据的 SHA-256"),
    "benchmark": Text("Benchmark", "基准"),
    "by_evalscope": Text("prompts and scores by EvalScope", "提示词和评分来自 EvalScope"),
    "worked_examples": Text("Worked examples in each prompt", "每个提示词中的示例"),
    "asked_with": Text("Asked with", "提问设置"),
    "generation": Text(
        "temperature {temperature}, at most {max_tokens} tokens, seed {seed}, "
        "{samples} per question",
        "温度 {temperature}，最多 {max_tokens} 词元，种子 {seed}，每题 {samples} 次",
    ),
    "thinking_on": Text("thinking on", "开启思考"),
    "thinking_off": Text("thinking off", "关闭思考"),
    "limited": Text("the first {n} questions", "前 {n} 题"),
    "judged_by": Text("Judges", "评审"),
}
