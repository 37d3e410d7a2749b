"""Contracts of what changes in research: users, projects, personas, focus groups, surveys and their questions; change
logs as received and clean, and SCD2 histories. The fields of each are said once, in its `*Fields` base.
Not here: what happens (activity, discussions).

Personas are fictional: nothing of them is personal data. Users are people; who is a user of the shop too has the same
`user_id` there."""

from __future__ import annotations

import datetime as dt

from data_platform.core.contract.change_logs import ChangeFields, HistoryFields
from data_platform.core.contract.received import ReceivedChanges, RejectedLines
from data_platform.core.contract.table import JsonObject, Personal, Table, column

OWNER = "team:research"
LINE_KEY = ("source_file", "source_line", "received_at")
QUESTION_TYPES = ("single_choice", "multiple_choice", "rating_scale", "open_text")


class OfTenant(Table):
    """Whose row it is: a tenant's token reads its own and no others. Ids are unique within a tenant, and every key
    begins with it: what one tenant calls its own can never change what another has."""

    owner = OWNER
    tenant = "tenant_id"

    tenant_id: str = column("The tenant whose row it is.", min_length=1)


class ResearchUserFields(OfTenant):
    """What the application knows of a person who does research."""

    user_id: str = column(
        "The person; the same id as in the shop (commerce) and as a player.", personal=Personal.PSEUDONYM, min_length=1
    )
    email: str | None = column("Address.", personal=Personal.DIRECT)
    role: str | None = column("What the person may do, for example `analyst` or `moderator`.")
    signed_up_at: dt.datetime | None = column("When the person signed up for research (UTC).")


class ResearchProjectFields(OfTenant):
    """What the application knows of a project."""

    project_id: str = column("The project.", min_length=1)
    user_id: str | None = column("Who leads it.", personal=Personal.PSEUDONYM)
    name: str | None = column("What its people call it.", personal=Personal.CONTENT)
    status: str | None = column("For example `active`, `paused` or `completed`.")
    language: str | None = column("Language that its discussions are held in, ISO 639-1.")
    target_demographics: JsonObject | None = column(
        "Whom the project wants to hear: attribute → value → share of the personas, for example "
        '`{"gender": {"female": 0.5, "male": 0.5}}`; shares of an attribute add up to 1.'
    )
    created_at: dt.datetime | None = column("When the project was created (UTC).")


class PersonaFields(OfTenant):
    """What a persona is made of: a fictional respondent."""

    persona_id: str = column("The persona.", min_length=1)
    project_id: str | None = column("Project it was made for; null for one that serves several.")
    name: str | None = column("Invented name.")
    segment: str | None = column("Market segment it stands for.")
    demographics: JsonObject | None = column('Attribute → value, for example `{"gender": "female", "age": 34}`.')
    background: str | None = column("Its story, in words.")
    personal_values: JsonObject | None = column("What matters to it: value → weight or words.")
    embedding: JsonObject | None = column(
        'A vector that came with the persona: `{"model": …, "version": …, "vector": […]}`.'
    )
    created_at: dt.datetime | None = column("When the persona was made (UTC).")


class FocusGroupFields(OfTenant):
    """What the application knows of a focus group."""

    focus_group_id: str = column("The focus group.", min_length=1)
    project_id: str = column("Its project.", min_length=1)
    user_id: str | None = column("Who moderates it.", personal=Personal.PSEUDONYM)
    title: str | None = column("What it is called.", personal=Personal.CONTENT)
    topic: str | None = column("What it is about.", personal=Personal.CONTENT)
    status: str | None = column("For example `planned`, `running` or `completed`.")
    planned_questions: int | None = column("Questions its guide has.", unit="questions", ge=0)
    created_at: dt.datetime | None = column("When the focus group was created (UTC).")


class SurveyFields(OfTenant):
    """What the application knows of a survey."""

    survey_id: str = column("The survey.", min_length=1)
    project_id: str = column("Its project.", min_length=1)
    user_id: str | None = column("Who made it.", personal=Personal.PSEUDONYM)
    title: str | None = column("What it is called.", personal=Personal.CONTENT)
    status: str | None = column("For example `draft`, `open` or `closed`.")
    created_at: dt.datetime | None = column("When the survey was created (UTC).")


class SurveyQuestionFields(OfTenant):
    """A question of a survey. Ids are unique within the survey."""

    survey_id: str = column("The survey.", min_length=1)
    question_id: str = column("The question.", min_length=1)
    project_id: str = column("The survey's project.", min_length=1)
    position: int | None = column("Its place in the survey, from 1.", ge=1)
    question_type: str = column("How it is answered.", isin=QUESTION_TYPES)
    text: str | None = column("What is asked.", personal=Personal.CONTENT)
    options: JsonObject | None = column('Of a choice: what one may choose, in order: `{"options": ["yes", "no"]}`.')
    scale_min: int | None = column("Of a rating scale: its lower end.")
    scale_max: int | None = column("Of a rating scale: its upper end.")


class RawResearchUserChanges(ResearchUserFields, ChangeFields, ReceivedChanges):
    """Changes to users as received, duplicates included."""

    key = "raw/research_user_changes"
    primary_key = ("change_date", *LINE_KEY)


class RawResearchUserChangesRejected(RejectedLines):
    """Lines of change files of users that cannot be changes."""

    key = "raw/research_user_changes_rejected"
    owner = OWNER


class RawResearchProjectChanges(ResearchProjectFields, ChangeFields, ReceivedChanges):
    """Changes to projects as received, duplicates included."""

    key = "raw/research_project_changes"
    primary_key = ("change_date", *LINE_KEY)


class RawResearchProjectChangesRejected(RejectedLines):
    """Lines of change files of projects that cannot be changes."""

    key = "raw/research_project_changes_rejected"
    owner = OWNER


class RawPersonaChanges(PersonaFields, ChangeFields, ReceivedChanges):
    """Changes to personas as received, duplicates included."""

    key = "raw/persona_changes"
    primary_key = ("change_date", *LINE_KEY)


class RawPersonaChangesRejected(RejectedLines):
    """Lines of change files of personas that cannot be changes."""

    key = "raw/persona_changes_rejected"
    owner = OWNER


class RawFocusGroupChanges(FocusGroupFields, ChangeFields, ReceivedChanges):
    """Changes to focus groups as received, duplicates included."""

    key = "raw/focus_group_changes"
    primary_key = ("change_date", *LINE_KEY)


class RawFocusGroupChangesRejected(RejectedLines):
    """Lines of change files of focus groups that cannot be changes."""

    key = "raw/focus_group_changes_rejected"
    owner = OWNER


class RawSurveyChanges(SurveyFields, ChangeFields, ReceivedChanges):
    """Changes to surveys as received, duplicates included."""

    key = "raw/survey_changes"
    primary_key = ("change_date", *LINE_KEY)


class RawSurveyChangesRejected(RejectedLines):
    """Lines of change files of surveys that cannot be changes."""

    key = "raw/survey_changes_rejected"
    owner = OWNER


class RawSurveyQuestionChanges(SurveyQuestionFields, ChangeFields, ReceivedChanges):
    """Changes to survey questions as received, duplicates included."""

    key = "raw/survey_question_changes"
    primary_key = ("change_date", *LINE_KEY)


class RawSurveyQuestionChangesRejected(RejectedLines):
    """Lines of change files of survey questions that cannot be changes."""

    key = "raw/survey_question_changes_rejected"
    owner = OWNER


class ResearchUserChanges(ResearchUserFields, ChangeFields):
    """Changes to users, each once: what was known of which, by the day it was known."""

    key = "clean/research_user_changes"
    primary_key = ("change_date", "tenant_id", "user_id", "changed_at")


class ResearchUsers(ResearchUserFields, HistoryFields):
    """SCD2 history of users: one row per user and version; a deletion ends the last version."""

    key = "clean/research_users"
    primary_key = ("tenant_id", "user_id", "valid_from")


class ResearchProjectChanges(ResearchProjectFields, ChangeFields):
    """Changes to projects, each once: what was known of which, by the day it was known."""

    key = "clean/research_project_changes"
    primary_key = ("change_date", "tenant_id", "project_id", "changed_at")


class ResearchProjects(ResearchProjectFields, HistoryFields):
    """SCD2 history of projects: one row per project and version; a deletion ends the last version."""

    key = "clean/research_projects"
    primary_key = ("tenant_id", "project_id", "valid_from")


class PersonaChanges(PersonaFields, ChangeFields):
    """Changes to personas, each once: what was known of which, by the day it was known."""

    key = "clean/persona_changes"
    primary_key = ("change_date", "tenant_id", "persona_id", "changed_at")


class Personas(PersonaFields, HistoryFields):
    """SCD2 history of personas: one row per persona and version; a deletion ends the last version."""

    key = "clean/personas"
    primary_key = ("tenant_id", "persona_id", "valid_from")


class FocusGroupChanges(FocusGroupFields, ChangeFields):
    """Changes to focus groups, each once: what was known of which, by the day it was known."""

    key = "clean/focus_group_changes"
    primary_key = ("change_date", "tenant_id", "focus_group_id", "changed_at")


class FocusGroups(FocusGroupFields, HistoryFields):
    """SCD2 history of focus groups: one row per focus group and version; a deletion ends the last version."""

    key = "clean/focus_groups"
    primary_key = ("tenant_id", "focus_group_id", "valid_from")


class SurveyChanges(SurveyFields, ChangeFields):
    """Changes to surveys, each once: what was known of which, by the day it was known."""

    key = "clean/survey_changes"
    primary_key = ("change_date", "tenant_id", "survey_id", "changed_at")


class Surveys(SurveyFields, HistoryFields):
    """SCD2 history of surveys: one row per survey and version; a deletion ends the last version."""

    key = "clean/surveys"
    primary_key = ("tenant_id", "survey_id", "valid_from")


class SurveyQuestionChanges(SurveyQuestionFields, ChangeFields):
    """Changes to survey questions, each once: what was known of which, by the day it was known."""

    key = "clean/survey_question_changes"
    primary_key = ("change_date", "tenant_id", "survey_id", "question_id", "changed_at")


class SurveyQuestions(SurveyQuestionFields, HistoryFields):
    """SCD2 history of survey questions: one row per survey question and version; a deletion ends the last version."""

    key = "clean/survey_questions"
    primary_key = ("tenant_id", "survey_id", "question_id", "valid_from")
