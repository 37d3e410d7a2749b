"""One word for each provider, whatever tools call it, so that usage and prices meet.
Not here: what its models are called, what they cost."""

from __future__ import annotations

from collections.abc import Mapping

UNKNOWN_PROVIDER = "unknown"

ALIASES: Mapping[str, str] = {
    "amazon": "bedrock",
    "amazon bedrock": "bedrock",
    "amazon web services": "bedrock",
    "amazon-bedrock": "bedrock",
    "amazon_bedrock": "bedrock",
    "aws": "bedrock",
    "aws.bedrock": "bedrock",
    "aws_bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure openai": "azure",
    "azure openai service": "azure",
    "azure-openai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "gcp": "google",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "google cloud": "google",
    "google cloud platform": "google",
    "google-vertex": "google",
    "google.generative-ai": "google",
    "google.vertex": "google",
    "vertex": "google",
    "vertex_ai": "google",
    "cohere_chat": "cohere",
    "microsoft": "azure",
    "microsoft azure": "azure",
    "mistral ai": "mistral",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "text-completion-openai": "openai",
    "together ai": "together",
    "together_ai": "together",
    "togetherai": "together",
    "ollama_chat": "ollama",
    "x-ai": "xai",
    "x_ai": "xai",
}
"""What OpenTelemetry, OpenInference, LiteLLM, the Vercel AI SDK, price lists and bills call a provider → our word."""


def provider_called(name: str) -> str:
    """Our word for a provider that goes by this name somewhere: small letters, without what the Vercel AI SDK adds
    (`openai.responses`, `anthropic.messages`)."""
    small = name.strip().lower()
    if small in ALIASES:
        return ALIASES[small]
    first = small.partition(".")[0]
    return ALIASES.get(first, first)
